// What the kernels must know of the process they run in. Compiled for the baseline: an instruction
// set's own static objects would be initialised at load, on whatever CPU that is.
#pragma once

namespace drawgan {

// In a child forked by the process that loaded this library. OpenMP's threads do not survive a
// fork, and a child that waits for them hangs.
bool in_forked_child() noexcept;

}  // namespace drawgan
