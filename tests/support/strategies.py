"""What hypothesis draws. Apart from the other cases, which devices without it use too."""

from __future__ import annotations

from hypothesis import strategies as st

# Raw window numbers far beyond anything a network gives.
extreme_numbers = st.lists(
    st.one_of(
        st.floats(-1e4, 1e4, allow_subnormal=False),
        st.sampled_from([0.0, 1e4, -1e4, 44.0, -44.0, 89.0, -89.0, -1.0, 1.0]),
    ),
    min_size=5,
    max_size=5,
)
