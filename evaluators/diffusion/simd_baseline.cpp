// Four lanes in the compiler's own vectors: whatever the target offers everywhere (SSE2 on x86-64,
// NEON on ARM).  The reference for the other tables' tests.

#include "evaluators/diffusion/simd_tables.hpp"

#include <cmath>
#include <cstring>

#include "evaluators/diffusion/simd_kernels.hpp"

namespace paretod {
namespace {

struct Baseline {
  typedef float F __attribute__((vector_size(16)));
  typedef double D __attribute__((vector_size(16)));
  typedef std::int32_t I __attribute__((vector_size(16)));
  typedef std::uint32_t U __attribute__((vector_size(16)));
  static constexpr std::size_t lanes = 4;
  static constexpr std::size_t rows = 4;
  static constexpr std::size_t vectors = 2;
  static constexpr std::size_t moment_columns = 2;
  static constexpr std::size_t merge_group = 4;

  static F load(const float* from) {
    F x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }
  static void store(float* to, F x) { std::memcpy(to, &x, sizeof x); }
  static F broadcast(float x) { return F{x, x, x, x}; }
  static F fma(F a, F b, F c) { return a * b + c; }
  static D fma(D a, D b, D c) { return a * b + c; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F max(F a, F b) { return a > b ? a : b; }
  static F sqrt(F x) {
    return F{std::sqrt(x[0]), std::sqrt(x[1]), std::sqrt(x[2]), std::sqrt(x[3])};
  }
  static F round(F x) {
    const F shift = broadcast(12582912.0F);  // 1.5 * 2^23: the sum has no fraction bits left
    return (x + shift) - shift;
  }
  static F power_of_two(F n) {
    const I exponent = (__builtin_convertvector(n, I) + 127) << 23;
    return (F)exponent;
  }
  static F load_half(const std::uint16_t* from) {
    const U bits = {from[0], from[1], from[2], from[3]};
    const U magnitude = (bits & 0x7FFFU) << 13;
    // As a float the shifted pattern is 2^-112 of the value, subnormal halves included; infinity
    // and NaN need the full exponent.
    const F scaled = (F)magnitude * broadcast(0x1p112F);
    const U special = (U)(magnitude >= 0x0F800000U) & 0x7F800000U;
    return (F)((U)scaled | special | (bits & 0x8000U) << 16);
  }
  static D load_double(const float* from) { return D{from[0], from[1]}; }
  static D zero_double() { return D{0, 0}; }
};

constexpr SimdKernels table = Kernels<Baseline>::table("baseline");

}  // namespace

const SimdKernels* baseline_kernels() {
  return &table;
}

}  // namespace paretod
