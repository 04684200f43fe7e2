#include "adapters/safetensors/safetensors.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "adapters/safetensors/widen.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

class SafetensorsTest : public testing::Test {
 protected:
  SafetensorsTest()
      : path_((std::filesystem::temp_directory_path() /
               ("paretod-safetensors-" + std::to_string(::getpid()) + ".safetensors"))
                  .string()) {}
  ~SafetensorsTest() override { std::filesystem::remove(path_); }

  Result<SafetensorsFile> open_bytes(const std::string& bytes) {
    std::filesystem::remove(path_);  // an earlier mapping keeps the old file
    std::ofstream(path_, std::ios::binary) << bytes;
    return SafetensorsFile::open(path_);
  }

  static std::string with_header(const std::string& header, std::size_t data_bytes) {
    std::string out;
    for (int i = 0; i < 8; ++i) out += static_cast<char>(header.size() >> (8 * i) & 0xFF);
    return out + header + std::string(data_bytes, '\1');
  }

  /// The error of a file with this header and so much data.
  std::string refusal(const std::string& header, std::size_t data_bytes) {
    const auto file = open_bytes(with_header(header, data_bytes));
    if (file) return "accepted";
    EXPECT_NE(file.error().message.find(path_), std::string::npos) << file.error().message;
    return file.error().text();
  }

  const std::string path_;
};

testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not contain \"" << part << "\"";
}

const char* const two_tensors =
    R"({"__metadata__":{"made":"here"},"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},)"
    R"("a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},)"
    R"("none":{"dtype":"F32","shape":[0,4],"data_offsets":[12,12]},)"
    R"("one":{"dtype":"U8","shape":[],"data_offsets":[20,21]}}   )";

TEST_F(SafetensorsTest, ReadsTensorsInTheOrderOfTheirBytes) {
  const auto file = open_bytes(with_header(two_tensors, 21));
  ASSERT_TRUE(file) << file.error().text();
  ASSERT_EQ(file->tensors().size(), 4U);
  EXPECT_EQ(file->tensors()[0].name, "a");
  EXPECT_EQ(file->tensors()[0].dtype, DType::f16);
  EXPECT_EQ(file->tensors()[0].shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(file->tensors()[0].elements(), 6U);
  EXPECT_EQ(file->tensors()[1].name, "none");
  EXPECT_EQ(file->tensors()[1].elements(), 0U);
  EXPECT_EQ(file->tensors()[3].elements(), 1U);
  EXPECT_EQ(file->metadata().at("made"), "here");
  EXPECT_EQ(file->find("c"), nullptr);
  EXPECT_TRUE(file->get("b", {2}));
  EXPECT_TRUE(contains(file->get("b", {3}).error().message, "has shape [2], [3] is needed"));
  EXPECT_TRUE(contains(file->get("c", {3}).error().message, "no tensor is called \"c\""));
}

TEST_F(SafetensorsTest, ViewsOutliveTheFileObject) {
  std::vector<TensorView> tensors;
  Result<SafetensorsFile> copy = [&] { return open_bytes(with_header(two_tensors, 21)); }();
  ASSERT_TRUE(copy);
  const SafetensorsFile kept = *copy;
  copy = invalid("dropped");
  EXPECT_EQ(kept.find("one")->bytes[0], std::byte{1});
}

TEST_F(SafetensorsTest, MissingFileIsNotFound) {
  const auto file = SafetensorsFile::open(path_);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().kind, ErrorKind::not_found);
  EXPECT_TRUE(contains(file.error().message, path_));
}

TEST_F(SafetensorsTest, DirectoryIsRefused) {
  const auto file = SafetensorsFile::open(std::filesystem::temp_directory_path().string());
  ASSERT_FALSE(file);
  EXPECT_TRUE(contains(file.error().message, "not a regular file"));
}

TEST_F(SafetensorsTest, RefusesHostileHeaders) {
  const std::string entry = R"("dtype":"F32","shape":[2],"data_offsets":)";
  EXPECT_TRUE(contains(refusal("[]", 0), "start with '{'"));
  EXPECT_TRUE(contains(refusal(R"({"a":1})", 0), "\"a\": its header entry is not an object"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[0,8]}", 8), "header"));
  EXPECT_TRUE(
      contains(refusal("{\"a\":{" + entry + "[0,8]},\"a\":{" + entry + "[0,8]}}", 8), "header"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[0,9]}}", 9), "needs 8 bytes"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[8,0]}}", 8), "not a byte range"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[0,8.0]}}", 8), "not a byte range"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[-8,0]}}", 8), "not a byte range"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[0,16]}}", 8), "the data has 8"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[0,8],\"x\":1}}", 8), "unknown header field"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[0,8]}}", 9), "after the last tensor"));
  EXPECT_TRUE(
      contains(refusal("{\"a\":{" + entry + "[4,12]}}", 12), "\"a\": unclaimed bytes before it"));
  EXPECT_TRUE(contains(refusal("{\"a\":{" + entry + "[0,8]},\"b\":{" + entry + "[4,12]}}", 12),
                       "\"b\": its bytes overlap"));
  EXPECT_TRUE(contains(refusal(R"({"a":{"dtype":"F7","shape":[2],"data_offsets":[0,8]}})", 8),
                       "unknown dtype"));
  EXPECT_TRUE(contains(refusal(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8), "no dtype"));
  EXPECT_TRUE(contains(refusal(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8), "no shape"));
  EXPECT_TRUE(contains(refusal(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "no data_offsets"));
  EXPECT_TRUE(contains(
      refusal(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
      "overflows"));
  EXPECT_TRUE(contains(refusal(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})", 8),
                       "not a whole"));
  EXPECT_TRUE(contains(refusal(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],)"
                               R"("data_offsets":[0,1]}})",
                               1),
                       "more than 16 dimensions"));
  EXPECT_TRUE(contains(refusal(R"({"__metadata__":{"a":1}})", 0), "is not a string"));
  EXPECT_TRUE(contains(refusal(R"({"__metadata__":1})", 0), "__metadata__ is not an object"));
  EXPECT_TRUE(contains(refusal("{\"a\":" + std::string(50'000, '['), 0), "header"));
  EXPECT_TRUE(contains(refusal("{\"a\x01\":1}", 0), "header"));
}

TEST_F(SafetensorsTest, RefusesImpossibleHeaderLengths) {
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'001}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xFF);
    const auto file = open_bytes(bytes + "{}");
    ASSERT_FALSE(file) << length;
    EXPECT_TRUE(contains(file.error().message, "cut short"));
  }
}

TEST_F(SafetensorsTest, EveryTruncationIsAnError) {
  const std::string whole = with_header(two_tensors, 21);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto file = open_bytes(whole.substr(0, size));
    EXPECT_FALSE(file) << size << " of " << whole.size() << " bytes were accepted";
  }
}

TEST_F(SafetensorsTest, FlippedBytesGiveAnErrorOrAConsistentFile) {
  const std::string whole = with_header(two_tensors, 21);
  Rng rng(1);
  std::size_t refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = whole;
    const std::size_t flips = 1 + rng.below(3);
    for (std::size_t i = 0; i < flips; ++i) {
      bytes[rng.below(bytes.size() - 21)] = static_cast<char>(rng.below(256));
    }
    const auto file = open_bytes(bytes);
    if (!file) {
      ++refused;
      continue;
    }
    std::size_t size = 0;
    for (const TensorView& tensor : file->tensors()) {
      size += tensor.bytes.size();
      std::uint64_t product = size_of(tensor.dtype);
      for (const std::uint64_t extent : tensor.shape) product *= extent;
      EXPECT_EQ(product, tensor.bytes.size());
      const auto values = to_floats(tensor);
      EXPECT_EQ(values ? values->size() : tensor.elements(), tensor.elements());
    }
    EXPECT_EQ(size, 21U);
  }
  EXPECT_GT(refused, 1000U);
}

float half_by_definition(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

TEST(WidenTest, EveryHalfIsExact) {
  std::vector<std::uint16_t> halves(65536 + 3);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
  std::vector<float> floats(halves.size());
  widen_f16(reinterpret_cast<const std::byte*>(halves.data()), halves.size(), floats.data());
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const float expected = half_by_definition(halves[i]);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(floats[i])) << i;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(floats[i]), std::bit_cast<std::uint32_t>(expected))
          << i;
    }
  }
  // The tail, which no vector covers.
  for (std::size_t count = 0; count < 8; ++count) {
    float last[8] = {};
    widen_f16(reinterpret_cast<const std::byte*>(halves.data() + 15360), count, last);
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(last[i], i < count ? half_by_definition(halves[15360 + i]) : 0.0F);
    }
  }
}

TEST(WidenTest, UnalignedBfloatsAndIntegers) {
  const float value = -3.140625F;
  std::vector<std::byte> bytes(1 + 2);
  const auto upper = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
  std::memcpy(bytes.data() + 1, &upper, 2);
  const TensorView bfloat{"x", DType::bf16, {1}, std::span(bytes).subspan(1)};
  EXPECT_EQ(to_floats(bfloat)->at(0), value);

  const std::byte whole[] = {std::byte{0xFE}, std::byte{0xFF}};
  EXPECT_EQ(to_floats({"x", DType::i16, {1}, whole})->at(0), -2.0F);
  EXPECT_EQ(to_floats({"x", DType::u8, {2}, whole})->at(0), 254.0F);

  const std::byte wide[8] = {};
  const auto refused = to_floats({"x", DType::i64, {1}, wide});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(contains(refused.error().message, "\"x\": dtype I64"));
}

}  // namespace
}  // namespace paretod
