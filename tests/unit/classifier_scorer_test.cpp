#include "evaluators/merge/classifier_scorer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "adapters/safetensors/widen.hpp"
#include "evaluators/diffusion/aligned.hpp"
#include "tests/support/scratch_directory.hpp"

namespace paretod {
namespace {

const std::string data_folder =
    std::string(PARETOD_SOURCE_DIR) + "/config/examples/data/specialists/";

/// F32 tensors as the merge engine would give them.
struct Weights {
  std::vector<AlignedVector<float>> numbers;
  std::vector<TensorView> views;
  std::vector<TensorLayout> layouts;

  void add(const std::string& name, std::vector<std::uint64_t> shape,
           const std::vector<float>& values) {
    numbers.emplace_back(values.begin(), values.end());
    const auto& stored = numbers.back();
    layouts.push_back({name, DType::f32, shape});
    views.push_back({name, DType::f32, std::move(shape), std::as_bytes(std::span(stored))});
  }
  static Weights of(const std::string& file) {
    const auto opened = SafetensorsFile::open(file);
    EXPECT_TRUE(opened.ok());
    Weights weights;
    for (const TensorView& tensor : opened->tensors()) {
      weights.add(tensor.name, tensor.shape, to_floats(tensor).value());
    }
    return weights;
  }
};

std::unique_ptr<MergedScorer> example_scorer() {
  auto scorer = classifier_scorer(data_folder + "four-tasks.json");
  EXPECT_TRUE(scorer.ok()) << scorer.error().text();
  return std::move(*scorer);
}

Outcome scored(const MergedScorer& scorer, const Weights& weights, Candidate candidate = {},
               const ParamValues& params = {}) {
  static const std::atomic<bool> cancelled = false;
  if (candidate.fidelity == 0) candidate.fidelity = scorer.describe().default_fidelity;
  return scorer.score(MergedWeights(weights.views), candidate, params, cancelled);
}

TEST(ClassifierScorer, ScoresTheSpecialistsAsTheirTrainingDid) {
  const auto scorer = example_scorer();
  const ScorerDescription description = scorer->describe();
  ASSERT_EQ(description.objectives.size(), 4U);
  EXPECT_EQ(description.objectives[1].name, "rotated");
  EXPECT_EQ(description.objectives[1].goal, Goal::maximize);
  ASSERT_EQ(description.metrics.size(), 8U);
  EXPECT_EQ(description.metrics[1], "rotated_loss");
  EXPECT_EQ(description.metrics[5], "rotated_heldout");
  EXPECT_EQ(description.default_fidelity, 357U);
  std::ifstream stream(data_folder + "scores.json");
  const auto wanted = nlohmann::json::parse(stream);
  const std::array<std::string, 4> tasks = {"normal", "rotated", "inverted", "shifted"};
  for (const auto& network : {"pretrained", "normal", "rotated", "inverted", "shifted"}) {
    const auto weights = Weights::of(data_folder + network + ".safetensors");
    ASSERT_TRUE(scorer->check(weights.layouts).ok());
    const Outcome outcome = scored(*scorer, weights, {}, {{"heldout", true}});
    ASSERT_EQ(outcome.objectives.size(), 4U);
    ASSERT_EQ(outcome.metrics.size(), 8U);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      // One image in 357 may fall on the other side of a tie where products round differently.
      const Measurement& accuracy = outcome.objectives[i];
      EXPECT_NEAR(accuracy.value, wanted[network]["search"][tasks[i]].get<double>(), 0.003);
      EXPECT_NEAR(accuracy.standard_error, std::sqrt(accuracy.value * (1 - accuracy.value) / 357),
                  1e-3);
      EXPECT_EQ(accuracy.count, 357U);
      EXPECT_EQ(outcome.metrics[4 + i].first, tasks[i] + "_heldout");
      EXPECT_NEAR(outcome.metrics[4 + i].second, wanted[network]["heldout"][tasks[i]].get<double>(),
                  0.003);
      // A specialist knows its own task well: accuracy and cross-entropy agree on it.
      if (tasks[i] == network) {
        EXPECT_LT(outcome.metrics[i].second, 0.15);
      }
    }
  }
}

TEST(ClassifierScorer, FidelityCountsExamplesAndReplicatesAreBlocks) {
  const auto scorer = example_scorer();
  const auto weights = Weights::of(data_folder + "normal.safetensors");
  const ParamValues params = {{"examples", true}};
  const Outcome all = scored(*scorer, weights, {}, params);
  ASSERT_EQ(all.examples.size(), 4U);
  ASSERT_EQ(all.examples[1].size(), 357U);
  std::vector<float> joined;
  for (std::uint64_t replicate = 0; replicate < 4; ++replicate) {
    const Outcome part =
        scored(*scorer, weights, {.point = {}, .fidelity = 100, .replicate = replicate}, params);
    ASSERT_EQ(part.objectives[1].count, 100U);
    double sum = 0;
    for (const float right : part.examples[1]) sum += static_cast<double>(right);
    EXPECT_DOUBLE_EQ(part.objectives[1].value, sum / 100);
    joined.insert(joined.end(), part.examples[1].begin(), part.examples[1].end());
  }
  // Blocks follow each other and go round.
  EXPECT_TRUE(std::equal(all.examples[1].begin(), all.examples[1].end(), joined.begin()));
  EXPECT_TRUE(std::equal(joined.begin() + 357, joined.end(), all.examples[1].begin()));
  // More than there are is all.
  EXPECT_EQ(scored(*scorer, weights, {.point = {}, .fidelity = 5000}).objectives[0].count, 357U);
  EXPECT_TRUE(scored(*scorer, weights).examples.empty());
}

TEST(ClassifierScorer, LossIsTheCrossEntropyOfSoftmax) {
  const test::ScratchDirectory scratch;
  const std::string folder = scratch.path().string() + "/";
  // Two inputs, three classes, one layer; logits of (1, 0) are (1, 2, 3), of (0, 1) (0, 0, 5).
  const std::string header = R"({"x":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
                             R"("y":{"dtype":"U8","shape":[2],"data_offsets":[16,18]}})";
  std::ofstream file(folder + "data.safetensors", std::ios::binary);
  const std::uint64_t length = header.size();
  const std::array<float, 4> inputs = {1, 0, 0, 1};
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << header;
  file.write(reinterpret_cast<const char*>(inputs.data()), 16);
  file << '\x02' << '\x00';
  file.close();
  std::ofstream(folder + "scorer.json")
      << R"({"layers":["only"],"objectives":"both","search":"data.safetensors",)"
      << R"("tasks":[{"name":"t","inputs":"x","labels":"y"}]})";
  const auto scorer = classifier_scorer(folder + "scorer.json");
  ASSERT_TRUE(scorer.ok()) << scorer.error().text();
  Weights weights;
  weights.add("only.weight", {3, 2}, {1, 0, 2, 0, 3, 5});
  weights.add("only.bias", {3}, {0, 0, 0});
  ASSERT_TRUE((*scorer)->check(weights.layouts).ok());
  const Outcome outcome = scored(**scorer, weights);
  EXPECT_EQ(outcome.objectives[0].value, 0.5);
  const double first = std::log(std::exp(1) + std::exp(2) + std::exp(3)) - 3;
  const double second = std::log(2 + std::exp(5));
  EXPECT_NEAR(outcome.objectives[1].value, (first + second) / 2, 1e-6);
  EXPECT_NEAR(outcome.objectives[1].standard_error, std::abs(first - second) / 2, 1e-6);

  // Weights that overflow are infeasible, not right or wrong.
  Weights wild;
  wild.add("only.weight", {3, 2}, {1, 0, INFINITY, 0, 3, 5});
  wild.add("only.bias", {3}, {0, 0, 0});
  EXPECT_EQ(scored(**scorer, wild).status, TrialStatus::infeasible);
  Weights narrow;
  narrow.add("only.weight", {2, 2}, {1, 0, 2, 0});
  narrow.add("only.bias", {2}, {0, 0});
  const auto refused = (*scorer)->check(narrow.layouts);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("labels that are not among the 2 classes"),
            std::string::npos);
}

TEST(ClassifierScorer, RefusesModelsAndFilesThatDoNotFit) {
  const auto scorer = example_scorer();
  auto weights = Weights::of(data_folder + "normal.safetensors");
  const auto refusal = [&](auto change) {
    auto layouts = weights.layouts;
    change(layouts);
    const auto checked = scorer->check(layouts);
    return checked.ok() ? std::string() : checked.error().message;
  };
  const auto at = [](std::vector<TensorLayout>& layouts, const std::string& name) {
    return std::find_if(layouts.begin(), layouts.end(), [&](auto& t) { return t.name == name; });
  };
  EXPECT_EQ(refusal([](auto&) {}), "");
  EXPECT_EQ(refusal([&](auto& all) { all.erase(at(all, "layers.1.bias")); }),
            "the classifier needs a tensor \"layers.1.bias\" of shape [64]; the merged model has "
            "none of that name");
  EXPECT_EQ(refusal([&](auto& all) {
              at(all, "layers.1.weight")->shape = {64, 32};
            }),
            "the classifier needs a tensor \"layers.1.weight\" of shape [n, 64], not [64, 32]");

  const test::ScratchDirectory scratch;
  const std::string file = scratch.path().string() + "/scorer.json";
  const auto problem = [&](const std::string& text) {
    std::ofstream(file) << text;
    const auto made = classifier_scorer(file);
    return made.ok() ? std::string() : made.error().text();
  };
  EXPECT_NE(problem("{").find("scorer.json"), std::string::npos);
  EXPECT_NE(problem("{}").find("/layers"), std::string::npos);
  const std::string whole = R"({"layers":["a"],"search":"none.safetensors",)"
                            R"("tasks":[{"name":"t","inputs":"x","labels":"y"}]%})";
  const auto with = [&](const std::string& more) {
    std::string text = whole;
    return text.replace(text.find('%'), 1, more);
  };
  EXPECT_NE(problem(with("")).find("none.safetensors"), std::string::npos);
  EXPECT_NE(problem(with(R"(,"activation":"swish")")).find("/activation"), std::string::npos);
  EXPECT_NE(problem(with(R"(,"objectives":"f1")")).find("/objectives"), std::string::npos);
  EXPECT_NE(problem(with(R"(,"depth":3)")).find("/depth"), std::string::npos);
}

TEST(ClassifierScorer, ItsVersionChangesWithItsData) {
  const auto four = classifier_scorer(data_folder + "four-tasks.json").value()->describe().version;
  const auto two = classifier_scorer(data_folder + "two-tasks.json").value()->describe().version;
  EXPECT_EQ(four, example_scorer()->describe().version);
  EXPECT_NE(four, two);
}

}  // namespace
}  // namespace paretod
