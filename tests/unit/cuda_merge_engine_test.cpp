// The merge engine on the emulated device beside the one on the processor: equal bytes.

#include "evaluators/cuda/cuda_merge_engine.hpp"

#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "evaluators/cuda/merge_plan.hpp"
#include "optimizers/core/rng.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/test_models.hpp"

namespace paretod {
namespace {

using Bytes = std::vector<std::byte>;

/// Takes everything through write().
class WrittenOutput final : public MergeOutput {
 public:
  WrittenOutput(const std::vector<TensorLayout>& layouts, std::size_t candidates)
      : tensors(candidates) {
    for (auto& candidate : tensors) {
      for (const TensorLayout& layout : layouts) candidate.emplace_back(layout.bytes());
    }
  }
  std::byte* memory(std::size_t, std::size_t) override { return nullptr; }
  Result<void> write(std::size_t candidate, std::size_t tensor, std::uint64_t offset,
                     std::span<const std::byte> bytes) override {
    Bytes& to = tensors.at(candidate).at(tensor);
    if (offset + bytes.size() > to.size()) return invalid("beyond the tensor");
    std::memcpy(to.data() + offset, bytes.data(), bytes.size());
    return {};
  }
  std::vector<std::vector<Bytes>> tensors;
};

class CudaMergeEngineTest : public testing::Test {
 protected:
  void write(DType dtype, DType base_dtype) {
    const auto layout = [](DType floats) {
      return std::vector<TensorLayout>{{"a", floats, {61, 33}},
                                       {"b", floats, {1}},
                                       {"c", floats, {40, 50}},
                                       {"nothing", floats, {0, 4}},
                                       {"steps", DType::i64, {3}}};
    };
    paths_ = {};
    paths_.base = folder("base");
    write_model(paths_.base, layout(base_dtype), random_contents(layout(base_dtype), 1), 1 << 30);
    for (std::size_t k = 0; k < 3; ++k) {
      const std::string name = "source" + std::to_string(k);
      // The last source is stored differently.
      const auto mine = layout(k == 2 ? base_dtype : dtype);
      write_model(folder(name), mine, random_contents(mine, 10 + k), 1 << 30);
      write_importance(name, layout(k == 1 ? dtype : base_dtype), 50 + k);
      paths_.sources.push_back({name, folder(name), folder(name + "-importance")});
    }
  }
  /// A model of squares, with zeros among them, and `odd` for the first number of its first tensor.
  void write_importance(const std::string& source, const std::vector<TensorLayout>& layout,
                        std::uint64_t seed, std::optional<float> odd = {}) {
    auto contents = random_contents(layout, seed);
    for (std::size_t t = 0; t < layout.size(); ++t) {
      if (layout[t].dtype == DType::i64) continue;
      auto values = to_floats({"", layout[t].dtype, layout[t].shape, contents[t]}).value();
      for (std::size_t i = 0; i < values.size(); ++i) values[i] *= i % 3 == 0 ? 0.0F : values[i];
      if (t == 0 && odd) values[0] = *odd;
      contents[t] = stored(layout[t].dtype, values);
    }
    write_model(folder(source + "-importance"), layout, contents, 1 << 30);
  }
  std::string folder(const std::string& name) const { return (scratch_.path() / name).string(); }

  std::shared_ptr<const MergeSources> open(const MergeRule& rule,
                                           std::optional<DType> dtype = {}) const {
    MergePaths paths = paths_;
    if (!traits_of(rule.method).uses_base) paths.base.clear();
    auto sources = MergeSources::open(paths, rule, dtype);
    if (!sources) throw std::runtime_error(sources.error().text());
    return std::make_shared<const MergeSources>(std::move(*sources));
  }

  static std::vector<std::vector<Bytes>> merged(MergeEngine& engine, const MergeSources& sources,
                                                const std::vector<MergeCandidate>& candidates) {
    WrittenOutput output(sources.layouts(), candidates.size());
    std::uint64_t last = 0;
    std::uint64_t all = 0;
    const auto done =
        engine.merge(candidates, output, [&](std::uint64_t some, std::uint64_t total) {
          EXPECT_GE(some, last);
          last = some;
          all = total;
          return true;
        });
    if (!done) throw std::runtime_error(done.error().text());
    EXPECT_EQ(last, all);
    return output.tensors;
  }

  static std::vector<MergeCandidate> draw(const MergeRule& rule, std::size_t count) {
    Rng rng(5);
    std::vector<MergeCandidate> candidates(count);
    for (MergeCandidate& candidate : candidates) {
      candidate.seed = rng.bits64();
      for (std::size_t g = 0; g < rule.group_count(); ++g) {
        GroupCoefficients group;
        for (int k = 0; k < 3; ++k) {
          group.weights.push_back(rng.uniform(0.1, 1));
          group.densities.push_back(rng.uniform(0.05, 1));
        }
        group.lambda = rng.uniform(0.5, 1.5);
        candidate.groups.push_back(std::move(group));
      }
    }
    return candidates;
  }

  test::ScratchDirectory scratch_;
  MergePaths paths_;
};

TEST_F(CudaMergeEngineTest, GivesTheBytesOfTheProcessorsEngine) {
  write(DType::bf16, DType::f32);
  for (const MergeMethod method :
       {MergeMethod::linear, MergeMethod::task_arithmetic, MergeMethod::ties,
        MergeMethod::dare_linear, MergeMethod::dare_ties, MergeMethod::breadcrumbs,
        MergeMethod::breadcrumbs_ties, MergeMethod::fisher}) {
    MergeRule rule = MergeRule::of(method);
    rule.groups = {{"first", {{TensorPattern::Kind::prefix, "a"}}}};
    for (const auto dtype : {std::optional<DType>(), std::optional<DType>(DType::f16)}) {
      const auto sources = open(rule, dtype);
      auto processor = cpu_merge_engine(sources, rule);
      ASSERT_TRUE(processor.ok()) << processor.error().text();
      const auto candidates = draw(rule, 5);
      const auto expected = merged(**processor, *sources, candidates);
      // Resident; streamed tensor by tensor; streamed in parts, where the method can.
      const std::uint64_t parts = method == MergeMethod::fisher ? 60 : 40;
      const std::uint64_t least = (cuda::merges_parts(rule) ? parts : 90) << 10;
      for (const std::uint64_t memory : {std::uint64_t{0}, std::uint64_t{150} << 10, least}) {
        auto device = cuda::cuda_merge_engine(sources, rule, {0, memory, 4});
        ASSERT_TRUE(device.ok()) << device.error().text();
        for (int again = 0; again < 2; ++again) {
          EXPECT_EQ(merged(**device, *sources, candidates), expected)
              << name_of(method) << " in " << memory;
        }
      }
    }
  }
}

TEST_F(CudaMergeEngineTest, InterpolatesByTheAngleOfEachTensor) {
  write(DType::f32, DType::f32);
  paths_.sources.pop_back();
  MergeRule rule = MergeRule::of(MergeMethod::slerp);
  rule.groups = {{"first", {{TensorPattern::Kind::prefix, "a"}}}};
  const auto sources = open(rule);
  auto processor = cpu_merge_engine(sources, rule);
  ASSERT_TRUE(processor.ok()) << processor.error().text();
  std::vector<MergeCandidate> candidates(3);
  for (std::size_t p = 0; p < candidates.size(); ++p) {
    for (const double t : {0.3 * static_cast<double>(p), 0.9})
      candidates[p].groups.push_back({{}, {}, 1, t});
  }
  const auto expected = merged(**processor, *sources, candidates);
  for (const std::uint64_t memory : {std::uint64_t{0}, std::uint64_t{90} << 10}) {
    auto device = cuda::cuda_merge_engine(sources, rule, {0, memory, 2});
    ASSERT_TRUE(device.ok()) << device.error().text();
    const auto got = merged(**device, *sources, candidates);
    // Sums over a tensor are in another order, so that weights may differ in their last place.
    for (std::size_t p = 0; p < candidates.size(); ++p) {
      for (std::size_t t = 0; t < sources->tensors().size(); ++t) {
        const TensorLayout& layout = sources->tensors()[t].layout;
        if (layout.dtype == DType::i64) continue;
        const auto of = [&](const Bytes& bytes) {
          return to_floats({"", layout.dtype, layout.shape, bytes}).value();
        };
        EXPECT_THAT(of(got[p][t]),
                    testing::Pointwise(testing::FloatNear(1e-6F), of(expected[p][t])));
      }
    }
  }
}

TEST_F(CudaMergeEngineTest, RefusesImportancesThatAreNoSquares) {
  const std::vector<TensorLayout> layout{{"w", DType::f32, {4, 9}}};
  const MergeRule rule = MergeRule::of(MergeMethod::fisher);
  for (const char* name : {"one", "two"}) {
    write_model(folder(name), layout, random_contents(layout, 3), 1 << 30);
    write_importance(name, layout, 4);
    paths_.sources.push_back({name, folder(name), folder(std::string(name) + "-importance")});
  }
  MergeCandidate candidate;
  candidate.groups.push_back({{0.5, 1}, {}});
  for (const float odd : {0.0F, -1.0F, NAN}) {
    write_importance("two", layout, 4, odd);
    const auto sources = open(rule);
    auto engine = cuda::cuda_merge_engine(sources, rule);
    ASSERT_TRUE(engine.ok()) << engine.error().text();
    WrittenOutput output(sources->layouts(), 1);
    const auto done = (*engine)->merge({&candidate, 1}, output);
    EXPECT_EQ(done.ok(), odd == 0);
    if (done.ok()) continue;
    EXPECT_EQ(done.error().text(),
              "an importance of tensor \"w\" is negative or not a number; fisher needs squares");
  }
}

TEST_F(CudaMergeEngineTest, SendsLargeTensorsInShares) {
  const MergeRule rule = MergeRule::of(MergeMethod::linear);
  // Of different dtypes, so that both are widened on their way.
  for (const auto& [name, dtype] : {std::pair{"one", DType::bf16}, std::pair{"two", DType::f16}}) {
    const std::vector<TensorLayout> layout{{"w", dtype, {3, 400'003}}};
    write_model(folder(name), layout, random_contents(layout, 3), 1 << 30);
    paths_.sources.push_back({name, folder(name)});
  }
  const auto sources = open(rule, DType::f32);
  MergeCandidate candidate;
  candidate.groups.push_back({{0.5, 1.25}, {}});
  auto processor = cpu_merge_engine(sources, rule);
  ASSERT_TRUE(processor.ok()) << processor.error().text();
  auto device = cuda::cuda_merge_engine(sources, rule, {0, std::uint64_t{8} << 20, 1});
  ASSERT_TRUE(device.ok()) << device.error().text();
  EXPECT_EQ(merged(**device, *sources, {candidate}), merged(**processor, *sources, {candidate}));
}

TEST_F(CudaMergeEngineTest, SaysWhatItCannotDo) {
  write(DType::f16, DType::f16);
  const MergeRule della = MergeRule::of(MergeMethod::della);
  const auto refused = cuda::cuda_merge_engine(open(della), della);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().text().find("/method: della is merged by the processor only"),
            std::string::npos)
      << refused.error().text();
  const MergeRule ties = MergeRule::of(MergeMethod::ties);
  const auto small = cuda::cuda_merge_engine(open(ties), ties, {0, 8'000, 4});
  ASSERT_FALSE(small.ok());
  EXPECT_NE(small.error().text().find("tensor \"a\" needs"), std::string::npos)
      << small.error().text();
}

TEST_F(CudaMergeEngineTest, StopsWhenProgressSaysSo) {
  write(DType::f32, DType::f32);
  const MergeRule rule = MergeRule::of(MergeMethod::linear);
  const auto sources = open(rule);
  auto engine = cuda::cuda_merge_engine(sources, rule, {0, 60 << 10, 1});
  ASSERT_TRUE(engine.ok()) << engine.error().text();
  const auto candidates = draw(rule, 1);
  WrittenOutput output(sources->layouts(), 1);
  const auto stopped =
      (*engine)->merge(candidates, output, [](std::uint64_t, std::uint64_t) { return false; });
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().kind, ErrorKind::conflict);
  auto processor = cpu_merge_engine(sources, rule);
  EXPECT_EQ(merged(**engine, *sources, candidates), merged(**processor, *sources, candidates));
}

}  // namespace
}  // namespace paretod
