// The arrays that calls take from Python: contiguous, in CPU memory.
#pragma once

#include <nanobind/ndarray.h>

template <class T, class... Options>
using Array =
    nanobind::ndarray<T, nanobind::c_contig, nanobind::device::cpu, Options...>;
template <class T>
using Vector = Array<T, nanobind::ndim<1>>;
template <class T>
using Matrix = Array<T, nanobind::ndim<2>>;
