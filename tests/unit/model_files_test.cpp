#include "adapters/safetensors/model_files.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "adapters/safetensors/narrow.hpp"
#include "adapters/safetensors/safetensors_writer.hpp"
#include "adapters/safetensors/widen.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;

class ModelFilesTest : public testing::Test {
 protected:
  ModelFilesTest()
      : folder_(fs::temp_directory_path() / ("paretod-model-files-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~ModelFilesTest() override { fs::remove_all(folder_); }

  static std::vector<TensorLayout> layout() {
    return {{"a", DType::f32, {3, 5}},
            {"empty", DType::f32, {0, 4}},
            {"b", DType::bf16, {7}},
            {"scalar", DType::f16, {}},
            {"c", DType::f32, {11}}};
  }

  /// Byte i of tensor t.
  static std::byte content(std::size_t t, std::size_t i) {
    return static_cast<std::byte>((31 * t + 7 * i + 1) & 0x3F);
  }

  /// Written back to front, in pieces of five bytes.
  static void fill(SafetensorsWriter& writer) {
    for (std::size_t t = writer.tensors().size(); t-- > 0;) {
      const std::size_t size = writer.tensors()[t].bytes();
      for (std::size_t end = size; end > 0;) {
        const std::size_t begin = end - std::min<std::size_t>(end, 5);
        std::vector<std::byte> piece;
        for (std::size_t i = begin; i < end; ++i) piece.push_back(content(t, i));
        ASSERT_TRUE(writer.write(t, begin, piece));
        end = begin;
      }
    }
  }

  void write_model(std::uint64_t shard_bytes) {
    auto writer = SafetensorsWriter::create(folder_.string(), layout(), shard_bytes, {{"k", "v"}});
    ASSERT_TRUE(writer) << writer.error().text();
    fill(*writer);
    const auto done = writer->commit();
    ASSERT_TRUE(done) << done.error().text();
  }

  void expect_model() {
    const auto model = ModelFiles::open(folder_.string());
    ASSERT_TRUE(model) << model.error().text();
    const auto expected = layout();
    ASSERT_EQ(model->tensors().size(), expected.size());
    for (std::size_t t = 0; t < expected.size(); ++t) {
      const TensorView* tensor = model->find(expected[t].name);
      ASSERT_NE(tensor, nullptr) << expected[t].name;
      EXPECT_EQ(tensor->dtype, expected[t].dtype);
      EXPECT_EQ(tensor->shape, expected[t].shape);
      ASSERT_EQ(tensor->bytes.size(), expected[t].bytes());
      for (std::size_t i = 0; i < tensor->bytes.size(); ++i) {
        ASSERT_EQ(tensor->bytes[i], content(t, i)) << expected[t].name << " byte " << i;
      }
    }
    for (const SafetensorsFile& file : model->files()) EXPECT_EQ(file.metadata().at("k"), "v");
  }

  [[nodiscard]] std::string index_text() const {
    std::ostringstream text;
    text << std::ifstream(folder_ / model_index_name).rdbuf();
    return text.str();
  }
  /// The error with this index in place of the right one.
  std::string refusal(const std::string& index) {
    std::ofstream(folder_ / model_index_name, std::ios::binary) << index;
    const auto model = ModelFiles::open(folder_.string());
    return model ? "accepted" : model.error().text();
  }
  static std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return at == std::string::npos ? text : text.replace(at, from.size(), to);
  }

  const fs::path folder_;
};

testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not contain \"" << part << "\"";
}

TEST_F(ModelFilesTest, OneFileComesBackAsWritten) {
  write_model(1'000'000);
  EXPECT_TRUE(fs::exists(folder_ / model_file_name));
  EXPECT_FALSE(fs::exists(folder_ / model_index_name));
  expect_model();
  const auto file = ModelFiles::open((folder_ / model_file_name).string());
  ASSERT_TRUE(file) << file.error().text();
  EXPECT_EQ(file->tensors().size(), layout().size());
}

TEST_F(ModelFilesTest, ShardsComeBackAsWritten) {
  write_model(70);  // 60 | 14 + 2 + 44 = 60
  EXPECT_TRUE(fs::exists(folder_ / "model-00002-of-00002.safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / model_file_name));
  expect_model();
}

TEST_F(ModelFilesTest, ATensorLargerThanAShardGetsAFileOfItsOwn) {
  write_model(1);
  EXPECT_TRUE(fs::exists(folder_ / "model-00004-of-00004.safetensors"));
  expect_model();
}

TEST_F(ModelFilesTest, NothingIsLeftWithoutACommit) {
  {
    auto writer = SafetensorsWriter::create(folder_.string(), layout(), 70, {});
    ASSERT_TRUE(writer) << writer.error().text();
    fill(*writer);
    EXPECT_FALSE(fs::is_empty(folder_));
    EXPECT_FALSE(ModelFiles::open(folder_.string()));
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(ModelFilesTest, AFolderThatIsNotThereIsNamed) {
  const auto writer = SafetensorsWriter::create((folder_ / "none").string(), layout(), 70, {});
  ASSERT_FALSE(writer);
  EXPECT_TRUE(contains(writer.error().text(), "none/model-00001-of-00002.safetensors"));
  const auto model = ModelFiles::open(folder_.string());
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().kind, ErrorKind::not_found);
}

TEST_F(ModelFilesTest, AHostileIndexIsRefused) {
  write_model(70);
  const std::string right = index_text();
  const std::string first = "\"model-00001-of-00002.safetensors\"";
  const std::string second = "\"model-00002-of-00002.safetensors\"";
  for (const std::string name :
       {"\"../x.safetensors\"", "\"/etc/x.safetensors\"", "\"..\"", "\"\"", "\".x.safetensors\"",
        "\"sub/x.safetensors\"", "\"x.bin\"", "7", "null"}) {
    EXPECT_TRUE(contains(refusal(replaced(right, first, name)), "plain name")) << name;
  }
  EXPECT_TRUE(contains(refusal(replaced(right, first, second)), "weight_map does not say"));
  EXPECT_TRUE(contains(refusal(replaced(right, "\"a\": " + first, "\"z\": " + first)),
                       "weight_map does not say"));
  EXPECT_TRUE(contains(refusal(replaced(right, "\"a\":", "\"z\": " + first + ", \"a\":")),
                       "tensor \"z\" is not in model-00001-of-00002.safetensors"));
  EXPECT_TRUE(
      contains(refusal(replaced(right, "\"weight_map\"", "\"weights\"")), "no object weight_map"));
  EXPECT_TRUE(contains(refusal(R"({"weight_map":{}})"), "weight_map is empty"));
  EXPECT_TRUE(contains(refusal("[]"), "no object weight_map"));
  fs::copy_file(folder_ / "model-00001-of-00002.safetensors", folder_ / "copy.safetensors");
  EXPECT_TRUE(contains(refusal(replaced(right, "\"b\": " + second, "\"b\": \"copy.safetensors\"")),
                       "weight_map does not say"));
  EXPECT_EQ(refusal(right), "accepted");
}

TEST_F(ModelFilesTest, ADamagedIndexIsAcceptedOnlyIfItSaysTheSame) {
  write_model(70);
  const std::string right = index_text();
  Rng rng(5);
  for (int round = 0; round < 2'000; ++round) {
    std::string index = right;
    for (std::uint64_t edits = 1 + rng.below(3); edits > 0; --edits) {
      index[rng.below(index.size())] = static_cast<char>(rng.below(256));
    }
    if (rng.bernoulli(0.2)) index.resize(rng.below(index.size()));
    if (refusal(index) == "accepted") expect_model();
  }
}

float half_value(std::uint16_t half) {
  float value = 0;
  widen_f16(reinterpret_cast<const std::byte*>(&half), 1, &value);
  return value;
}

/// Nine at a time, so that the vector path and the rest are both used.
template <class Narrow>
std::uint16_t narrowed(Narrow narrow, float value) {
  const std::vector<float> in(9, value);
  std::vector<std::uint16_t> out(9);
  narrow(in.data(), in.size(), reinterpret_cast<std::byte*>(out.data()));
  EXPECT_EQ(out.front(), out.back()) << value;
  return out.back();
}

TEST(NarrowTest, EveryHalfIsExactAndEveryMiddleGoesToEven) {
  for (std::uint32_t bits = 0; bits < 0x7C00U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float low = half_value(half);
    ASSERT_EQ(narrowed(narrow_f16, low), half);
    ASSERT_EQ(narrowed(narrow_f16, -low), half | 0x8000U);
    const float high =
        bits == 0x7BFFU ? 65536.0F : half_value(static_cast<std::uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact: a half has 13 bits to spare
    ASSERT_EQ(narrowed(narrow_f16, middle), bits + (bits & 1U));
    ASSERT_EQ(narrowed(narrow_f16, std::nextafter(middle, 0.0F)), bits);
    ASSERT_EQ(narrowed(narrow_f16, std::nextafter(middle, 1e9F)), bits + 1);
  }
}

TEST(NarrowTest, BfloatMiddlesGoToEven) {
  for (std::uint32_t bits = 0; bits < 0x7F80U; ++bits) {
    const std::uint32_t even = bits + (bits & 1U);
    ASSERT_EQ(narrowed(narrow_bf16, std::bit_cast<float>(bits << 16)), bits);
    ASSERT_EQ(narrowed(narrow_bf16, std::bit_cast<float>(bits << 16 | 0x8000U)), even);
    ASSERT_EQ(narrowed(narrow_bf16, std::bit_cast<float>(bits << 16 | 0x7FFFU)), bits);
    ASSERT_EQ(narrowed(narrow_bf16, std::bit_cast<float>(bits << 16 | 0x8001U)), bits + 1);
  }
}

TEST(NarrowTest, InfinityAndNanStay) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(narrowed(narrow_f16, -infinity), 0xFC00U);
  EXPECT_EQ(narrowed(narrow_bf16, infinity), 0x7F80U);
  EXPECT_EQ(narrowed(narrow_f16, 1e30F), 0x7C00U);
  for (const std::uint32_t nan : {0x7FC00000U, 0x7F800001U, 0xFFFFFFFFU}) {
    EXPECT_TRUE(std::isnan(half_value(narrowed(narrow_f16, std::bit_cast<float>(nan)))));
    const std::uint32_t bfloat = narrowed(narrow_bf16, std::bit_cast<float>(nan));
    EXPECT_TRUE(std::isnan(std::bit_cast<float>(bfloat << 16)));
  }
}

}  // namespace
}  // namespace paretod
