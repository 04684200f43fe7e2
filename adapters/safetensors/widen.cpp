#include "adapters/safetensors/widen.hpp"

#include <bit>
#include <cstring>
#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace paretod {
namespace {

template <class T>
T read(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t magnitude = (half & 0x7FFFU) << 13;
  // As a float the shifted pattern is 2^-112 of the value, subnormal halves included; infinity and
  // NaN need the full exponent.
  std::uint32_t bits = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112F);
  if (magnitude >= 0x0F800000U) bits |= 0x7F800000U;
  return std::bit_cast<float>(bits | (half & 0x8000U) << 16);
}

#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) std::size_t widen_f16_f16c(const std::byte* from,
                                                               std::size_t count, float* to) {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i));
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
  }
  return i;
}
#endif

template <class T>
void convert(const std::byte* from, std::size_t count, float* to) {
  for (std::size_t i = 0; i < count; ++i) {
    to[i] = static_cast<float>(read<T>(from + i * sizeof(T)));
  }
}

}  // namespace

void widen_f16(const std::byte* from, std::size_t count, float* to) {
  std::size_t i = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("f16c")) i = widen_f16_f16c(from, count, to);
#endif
  for (; i < count; ++i) to[i] = half_to_float(read<std::uint16_t>(from + 2 * i));
}

void widen_bf16(const std::byte* from, std::size_t count, float* to) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = read<std::uint16_t>(from + 2 * i);
    to[i] = std::bit_cast<float>(bits << 16);
  }
}

Result<std::vector<float>> to_floats(const TensorView& tensor) {
  const std::size_t count = tensor.elements();
  const std::byte* from = tensor.bytes.data();
  std::vector<float> out(count);
  if (count == 0) return out;
  switch (tensor.dtype) {
    case DType::f16:
      widen_f16(from, count, out.data());
      return out;
    case DType::bf16:
      widen_bf16(from, count, out.data());
      return out;
    case DType::f32:
      std::memcpy(out.data(), from, count * sizeof(float));
      return out;
    case DType::f64:
      convert<double>(from, count, out.data());
      return out;
    case DType::u8:
      convert<std::uint8_t>(from, count, out.data());
      return out;
    case DType::i8:
      convert<std::int8_t>(from, count, out.data());
      return out;
    case DType::u16:
      convert<std::uint16_t>(from, count, out.data());
      return out;
    case DType::i16:
      convert<std::int16_t>(from, count, out.data());
      return out;
    default:
      break;
  }
  return invalid("tensor \"" + tensor.name + "\": dtype " + std::string(name_of(tensor.dtype)) +
                 " cannot be used as numbers here");
}

}  // namespace paretod
