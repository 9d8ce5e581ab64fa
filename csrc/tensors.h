// Torch's tensors, read without torch's headers: one call a tensor into the table of C functions
// that torch >= 2.10 puts on its classes (DLPack's exchange protocol). Python would ask each for
// its type, shape, dtype, device, layout and address in turn, 30 to 100 ns every time.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace drawgan {

// The binary interface of DLPack 1.x (dmlc/dlpack, dlpack.h), as far as it is used here.
struct DlpackTensor {
  void* data;
  int32_t device_type, device_id;
  int32_t dimensions;
  uint8_t kind, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct DlpackExchange {
  uint32_t major, minor;
  DlpackExchange* previous;
  void *allocate, *own, *wrap;
  int (*describe)(void* object, DlpackTensor* out);  // borrows; -1 with an exception set
  void* stream;
};
constexpr uint32_t kDlpackMajor = 1;
constexpr uint8_t kDlpackFloat = 2, kDlpackBfloat = 4;

// Reads tensors of two classes, torch's own; a subclass may be anything.
class TensorReader {
 public:
  TensorReader(py::type tensor, py::type parameter)
      : tensor_(std::move(tensor)), parameter_(std::move(parameter)), is_neg_("is_neg") {
    if (!py::hasattr(tensor_, kAttribute)) return;
    const auto capsule = tensor_.attr(kAttribute).cast<py::capsule>();
    auto* table = capsule.get_pointer<DlpackExchange>();
    while (table && table->major > kDlpackMajor) table = table->previous;
    if (table && table->major == kDlpackMajor) describe_ = table->describe;
  }
  // False where this torch has no such table: nothing can be read then.
  bool able() const { return describe_ != nullptr; }

  // A strided tensor with memory of its own; anything else is false, with no exception set.
  bool read(PyObject* object, DlpackTensor* out) const {
    PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
    if (type != tensor_.ptr() && type != parameter_.ptr()) return false;
    if (describe_(object, out) == 0) return true;
    PyErr_Clear();
    return false;
  }

  // Whether its numbers have the sign that they have in memory: torch may put a minus off.
  bool is_signed(PyObject* object) const {
    PyObject* negative = PyObject_CallMethodNoArgs(object, is_neg_.ptr());
    if (!negative) PyErr_Clear();
    Py_XDECREF(negative);
    return negative == Py_False;
  }

 private:
  static constexpr const char* kAttribute = "__dlpack_c_exchange_api__";
  py::type tensor_, parameter_;
  py::str is_neg_;
  int (*describe_)(void*, DlpackTensor*) = nullptr;
};

// float16 to float64, and bfloat16.
inline bool is_float(const DlpackTensor& t) {
  if (t.lanes != 1) return false;
  return (t.kind == kDlpackFloat && t.bits >= 16) || (t.kind == kDlpackBfloat && t.bits == 16);
}

// The tensors of this process; set once, when torch has been imported.
inline std::optional<TensorReader>& tensor_reader() {
  static auto* reader = new std::optional<TensorReader>;  // never destroyed: nor is Python
  return *reader;
}

// Whether row after row lies there without gaps.
inline bool is_dense(const DlpackTensor& t) {
  if (!t.strides) return true;
  int64_t expected = 1;
  for (int i = t.dimensions - 1; i >= 0; expected *= t.shape[i--])
    if (t.shape[i] != 1 && t.strides[i] != expected) return false;
  return true;
}

// Addresses of tensors that can be read and are dense, 0 for None; nothing if one is neither.
inline std::optional<std::vector<std::uintptr_t>> addresses(const py::tuple& tensors) {
  const auto& reader = tensor_reader();
  if (!reader || !reader->able()) return std::nullopt;
  std::vector<std::uintptr_t> found;
  found.reserve(tensors.size());
  for (const py::handle object : tensors) {
    DlpackTensor t{};
    if (!object.is_none() &&
        !(reader->read(object.ptr(), &t) && is_dense(t) && reader->is_signed(object.ptr())))
      return std::nullopt;
    found.push_back(reinterpret_cast<std::uintptr_t>(t.data) + t.byte_offset);
  }
  return found;
}

// The shapes that a call's tensors must have: a dimension is a size, or -1 - i for whatever the
// i-th free one turns out to be; no shape stands for an argument that is not given.
class Signature {
 public:
  using Shape = std::optional<std::vector<int64_t>>;

  explicit Signature(std::vector<Shape> shapes) : shapes_(std::move(shapes)) {
    for (const Shape& shape : shapes_)
      for (int64_t size : shape.value_or(std::vector<int64_t>{}))
        if (size < -kMostFree)
          throw std::invalid_argument("a signature has at most 8 free dimensions");
  }

  // DLPack's number of the device on which they all are, if they are readable, of one dtype, not
  // empty and of these shapes; else 0, and somebody who can say why must look at them.
  int device(const py::tuple& tensors) const {
    const auto& reader = tensor_reader();
    if (!reader || !reader->able() || tensors.size() != shapes_.size()) return 0;
    int64_t bound[kMostFree] = {};
    DlpackTensor first{};
    for (size_t i = 0; i < shapes_.size(); i++) {
      PyObject* object = PyTuple_GET_ITEM(tensors.ptr(), static_cast<Py_ssize_t>(i));
      if (!shapes_[i]) {
        if (object != Py_None) return 0;
        continue;
      }
      DlpackTensor t;
      if (!reader->read(object, &t) || !is_float(t)) return 0;
      if (first.bits == 0) first = t;
      if (t.device_type != first.device_type || t.device_id != first.device_id ||
          t.kind != first.kind || t.bits != first.bits || !fits(t, *shapes_[i], bound))
        return 0;
    }
    return first.device_type;
  }

 private:
  static constexpr int64_t kMostFree = 8;

  static bool fits(const DlpackTensor& t, const std::vector<int64_t>& shape, int64_t* bound) {
    if (t.dimensions != static_cast<int32_t>(shape.size())) return false;
    for (size_t d = 0; d < shape.size(); d++) {
      int64_t expected = shape[d];
      if (expected < 0) {
        int64_t& free = bound[-1 - expected];
        if (free == 0) free = t.shape[d];
        expected = free;
      }
      if (t.shape[d] != expected || expected == 0) return false;
    }
    return true;
  }

  std::vector<Shape> shapes_;
};

}  // namespace drawgan
