// The native evaluator against values that PyTorch computed (scripts/train-digits): same weights,
// same noise, same references.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "adapters/safetensors/widen.hpp"
#include "evaluators/diffusion/checkpoint_scorer.hpp"
#include "evaluators/diffusion/tiles.hpp"

namespace paretod {
namespace {

const std::string source_dir = PARETOD_SOURCE_DIR;
const std::string model_path = source_dir + "/config/examples/data/digits/model.json";

/// Loaded once: the files are 13 MB.
class DiffusionGoldenTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto scorer = CheckpointScorer::load(model_path, {}, simd_kernels());
    ASSERT_TRUE(scorer) << scorer.error().text();
    scorer_ = std::make_unique<CheckpointScorer>(std::move(*scorer));
    const auto file = SafetensorsFile::open(source_dir + "/tests/data/digits/golden.safetensors");
    ASSERT_TRUE(file) << file.error().text();
    golden_ = std::make_unique<SafetensorsFile>(*file);
    std::ifstream stream(source_dir + "/tests/data/digits/golden.json");
    scores_ = std::make_unique<nlohmann::json>(nlohmann::json::parse(stream));
    const std::vector<float> noise = golden("noise");
    noise_ = std::make_shared<NoiseBlock>(to_tiles(noise.data(), noise.size() / 64, 64));
  }
  static void TearDownTestSuite() {
    scorer_.reset();
    golden_.reset();
    scores_.reset();
    noise_.reset();
  }

  static std::vector<float> golden(const std::string& name) {
    return to_floats(*golden_->find(name)).value();
  }
  static std::vector<double> one_hot(const std::string& label) {
    std::vector<double> alpha;
    for (const CheckpointFile& column : scorer_->columns()) alpha.push_back(column.label == label);
    return alpha;
  }
  static std::vector<double> golden_alpha() {
    const TensorView& tensor = *golden_->find("alpha");
    std::vector<double> alpha(tensor.elements());
    std::memcpy(alpha.data(), tensor.bytes.data(), tensor.bytes.size());
    return alpha;
  }
  static std::vector<float> merged(const std::vector<double>& alpha) {
    const CheckpointSet& set = scorer_->checkpoints();
    const std::vector<float> coefficients(alpha.begin(), alpha.end());
    std::vector<float> out(set.stride());
    for (std::size_t block = 0; block < set.blocks(); ++block) {
      set.merge_block(simd_kernels(), block, coefficients.data(), 1, out.data());
    }
    return out;
  }
  /// The first tile of golden noise, and its labels.
  static AlignedVector<float> first_tile() {
    return {noise_->begin(), noise_->begin() + 64 * tile_lanes};
  }
  static std::vector<std::size_t> labels() {
    std::vector<std::size_t> labels(tile_lanes);
    for (std::size_t i = 0; i < tile_lanes; ++i) labels[i] = i % 10;
    return labels;
  }
  static void expect_near(const std::string& name, const float* tile, double tolerance) {
    const std::vector<float> expected = golden(name);
    const std::size_t columns = expected.size() / 16;
    double worst = 0;
    for (std::size_t i = 0; i < 16; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        worst =
            std::max(worst, std::abs(double{tile[j * tile_lanes + i]} - expected[i * columns + j]));
      }
    }
    EXPECT_LT(worst, tolerance) << name;
    EXPECT_EQ(expected.size(), 16 * columns);
  }
  static Score score(const std::vector<double>& alpha) {
    return scorer_->score_noise({alpha, 2000, 0}, noise_, 1);
  }

  static std::unique_ptr<CheckpointScorer> scorer_;
  static std::unique_ptr<SafetensorsFile> golden_;
  static std::unique_ptr<nlohmann::json> scores_;
  static std::shared_ptr<const NoiseBlock> noise_;
};
std::unique_ptr<CheckpointScorer> DiffusionGoldenTest::scorer_;
std::unique_ptr<SafetensorsFile> DiffusionGoldenTest::golden_;
std::unique_ptr<nlohmann::json> DiffusionGoldenTest::scores_;
std::shared_ptr<const NoiseBlock> DiffusionGoldenTest::noise_;

TEST_F(DiffusionGoldenTest, ColumnsAreCheckpointsThenEma) {
  const auto& columns = scorer_->columns();
  ASSERT_EQ(columns.size(), 42U);
  EXPECT_EQ(columns[0].label, "step-000400");
  EXPECT_EQ(columns[0].iteration, 400.0);
  EXPECT_EQ(columns[38].label, "step-008000");
  EXPECT_EQ(columns[39].label, "ema-0.98");
  EXPECT_FALSE(columns[39].iteration);
  EXPECT_EQ(scorer_->checkpoints().parameters(), 151'040U);
}

TEST_F(DiffusionGoldenTest, PredictionsAndSamplesMatch) {
  const std::vector<float> parameters = merged(one_hot("ema-0.995"));
  Denoiser denoiser(scorer_->shape(), simd_kernels());
  Denoiser::Scratch scratch(scorer_->shape());
  const std::vector<DdimStep>& steps = scorer_->steps();
  ASSERT_EQ(steps[0].time, 999U);
  ASSERT_EQ(steps[3].time, 399U);
  denoiser.assign(parameters.data(), steps);

  AlignedVector<float> x = first_tile();
  AlignedVector<float> v(64 * tile_lanes);
  denoiser.predict(0, x.data(), labels().data(), v.data(), scratch);
  expect_near("v_999", v.data(), 2e-5);
  denoiser.predict(3, x.data(), labels().data(), v.data(), scratch);
  expect_near("v_399", v.data(), 2e-5);

  ASSERT_TRUE(denoiser.sample(x.data(), labels().data(), scratch));
  expect_near("x_5", x.data(), 1e-4);

  AlignedVector<float> features(scorer_->features().rows() * tile_lanes);
  AlignedVector<float> feature_scratch(scorer_->features().scratch_size());
  scorer_->features().compute(x.data(), tile_lanes, features.data(), feature_scratch.data());
  expect_near("feat", features.data(), 1e-4);
}

TEST_F(DiffusionGoldenTest, MergeMatches) {
  const std::vector<float> parameters = merged(golden_alpha());
  const std::vector<float> expected = golden("merged_t1w_head");
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(parameters[i], expected[i], 2e-6);
}

TEST_F(DiffusionGoldenTest, MergeOfOneSourceIsExactlyThatSource) {
  const std::vector<float> parameters = merged(one_hot("step-008000"));
  const auto file =
      SafetensorsFile::open(source_dir + "/config/examples/data/digits/step-008000.safetensors");
  ASSERT_TRUE(file);
  const std::vector<float> stored = to_floats(*file->find("t1.w")).value();
  EXPECT_TRUE(std::equal(stored.begin(), stored.end(), parameters.begin()));
}

TEST_F(DiffusionGoldenTest, DistancesMatch) {
  std::vector<double> uniform(42, 0.0);
  std::fill(uniform.begin(), uniform.begin() + 39, 1.0 / 39);
  const std::vector<std::pair<std::string, std::vector<double>>> cases = {
      {"ema-0.98", one_hot("ema-0.98")},
      {"ema-0.995", one_hot("ema-0.995")},
      {"last", one_hot("step-008000")},
      {"uniform", uniform},
      {"merged", golden_alpha()}};
  for (const auto& [name, alpha] : cases) {
    const nlohmann::json& expected = scores_->at("frechet").at(name);
    const Score result = score(alpha);
    ASSERT_EQ(result.status, Score::Status::ok);
    EXPECT_NEAR(result.distance, expected.at("a").get<double>(), 1e-4) << name;
    EXPECT_NEAR(result.heldout, expected.at("b").get<double>(), 1e-4) << name;
  }
}

TEST_F(DiffusionGoldenTest, CancelledScoresSaySo) {
  const std::vector<ScoreRequest> requests = {{one_hot("ema-0.98"), 2000, 0}};
  EXPECT_EQ(scorer_->score(requests, 2, std::atomic<bool>{true})[0].status,
            Score::Status::cancelled);
  EXPECT_EQ(scorer_->score(requests, 2, std::atomic<bool>{false})[0].status, Score::Status::ok);
}

TEST_F(DiffusionGoldenTest, EveryInstructionSetAgrees) {
  const SimdKernelList list = supported_simd_kernels();
  for (std::size_t i = 1; i < list.count; ++i) {
    auto other = CheckpointScorer::load(model_path, {}, *list.tables[i]);
    ASSERT_TRUE(other) << other.error().text();
    const ScoreRequest request{one_hot("ema-0.98"), 480, 0};
    const Score expected = scorer_->score_noise(request, noise_, 1);
    const Score result = other->score_noise(request, noise_, 1);
    EXPECT_NEAR(result.distance, expected.distance, 1e-4) << list.tables[i]->name;
    EXPECT_NEAR(result.standard_error, expected.standard_error, 1e-5) << list.tables[i]->name;
  }
}

}  // namespace
}  // namespace paretod
