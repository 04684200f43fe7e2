#include "evaluators/merge/merge_sources.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "evaluators/merge/merge_engine.hpp"
#include "evaluators/merge/merge_outputs.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/test_models.hpp"

namespace paretod {
namespace {

using ::testing::HasSubstr;

class MergeSourcesTest : public testing::Test {
 protected:
  std::string folder(const std::string& name) const { return (scratch_.path() / name).string(); }
  void write(const std::string& name, const std::vector<TensorLayout>& layout) {
    write_model(folder(name), layout, random_contents(layout, 1));
  }
  std::string problem(MergeMethod method, const MergePaths& paths) {
    const auto sources = MergeSources::open(paths, MergeRule::of(method));
    if (sources) return "none";
    if (sources.error().problems.empty()) return sources.error().message;
    return sources.error().problems[0].pointer + ": " + sources.error().problems[0].message;
  }
  MergePaths paths(const std::string& base, std::vector<std::string> sources) {
    MergePaths out;
    if (!base.empty()) out.base = folder(base);
    for (const std::string& name : sources) out.sources.push_back({name, folder(name)});
    return out;
  }

  test::ScratchDirectory scratch_;
};

TEST_F(MergeSourcesTest, SayPreciselyWhatDiffers) {
  write("base", {{"a", DType::f32, {2, 3}}, {"b", DType::f32, {4}}, {"n", DType::i64, {1}}});
  write("same", {{"b", DType::bf16, {4}}, {"a", DType::f16, {2, 3}}, {"n", DType::i64, {1}}});
  write("lacks", {{"a", DType::f32, {2, 3}}, {"n", DType::i64, {1}}, {"x", DType::f32, {1}}});
  write("shape", {{"a", DType::f32, {3, 2}}, {"b", DType::f32, {4}}, {"n", DType::i64, {1}}});
  write("kind", {{"a", DType::f32, {2, 3}}, {"b", DType::i64, {4}}, {"n", DType::f32, {1}}});
  const auto ties = MergeMethod::ties;
  EXPECT_EQ(problem(ties, paths("base", {"same"})), "none");
  EXPECT_EQ(problem(ties, paths("base", {"same", "lacks"})),
            "/sources/1/path: " + folder("lacks") + " is not of the same architecture as " +
                folder("base") + ": it lacks \"b\"; only it has \"x\"");
  EXPECT_THAT(problem(ties, paths("base", {"shape"})),
              HasSubstr("of another shape: \"a\" is [3, 2] instead of [2, 3]"));
  EXPECT_THAT(problem(ties, paths("base", {"kind"})),
              HasSubstr("of another dtype: \"b\" is I64 instead of F32, \"n\" is F32 instead of"));
  EXPECT_THAT(problem(ties, paths("", {"same"})), HasSubstr("/base: is required"));
  EXPECT_THAT(problem(MergeMethod::slerp, paths("", {"same"})),
              HasSubstr("/sources: slerp merges exactly two models, not 1"));
  EXPECT_THAT(problem(MergeMethod::fisher, paths("", {"same"})),
              HasSubstr("/sources/0/importance: is required"));
  EXPECT_THAT(problem(ties, paths("base", {"nowhere"})), HasSubstr("/sources/0/path: "));
  EXPECT_THAT(problem(ties, paths("base", {"same", "same"})),
              HasSubstr("/sources/1/name: names another source too"));
}

TEST_F(MergeSourcesTest, GroupsThatChooseNothingAreMistakes) {
  write("a", {{"layer.0", DType::f32, {2}}, {"layer.1", DType::f32, {2}}});
  MergeRule rule = MergeRule::of(MergeMethod::linear);
  const auto problem_of = [&](TensorPattern pattern) {
    rule.groups = {{"all", {{TensorPattern::Kind::prefix, "layer.0"}}}, {"more", {pattern}}};
    const auto sources = MergeSources::open(paths("", {"a"}), rule);
    return sources ? std::string("none") : sources.error().problems[0].pointer;
  };
  EXPECT_EQ(problem_of({TensorPattern::Kind::regex, "layer\\.[0-9]"}), "none");
  EXPECT_EQ(problem_of({TensorPattern::Kind::contains, "0"}), "/groups/1/match");
  EXPECT_EQ(problem_of({TensorPattern::Kind::regex, "layer["}), "/groups/1/match/0");
}

TEST_F(MergeSourcesTest, AVersionChangesWithTheFiles) {
  const std::vector<TensorLayout> layout{{"a", DType::f32, {2}}};
  write("a", layout);
  const auto version = [&] {
    return MergeSources::open(paths("", {"a"}), MergeRule::of(MergeMethod::linear))->version();
  };
  const std::string before = version();
  EXPECT_EQ(version(), before);
  std::filesystem::last_write_time(folder("a") + "/model.safetensors",
                                   std::filesystem::file_time_type::clock::now() +
                                       std::chrono::hours(1));
  EXPECT_NE(version(), before);
}

TEST_F(MergeSourcesTest, HostileHeadersNeverReachTheEngine) {
  // Any mutation of a header, and any shortening, is an error or a model of the same tensors that
  // merges: nothing crashes and nothing reads outside the file.
  const std::vector<TensorLayout> layout{{"a.weight", DType::f32, {3, 5}},
                                         {"b", DType::bf16, {7}},
                                         {"n", DType::i64, {2}}};
  write("good", layout);
  write("other", layout);
  std::filesystem::create_directories(folder("bad"));
  std::ifstream in(folder("good") + "/model.safetensors", std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::size_t header = 8;
  for (int i = 7; i >= 0; --i) {
    if (good[static_cast<std::size_t>(i)] != 0) {
      header = 8 + static_cast<unsigned char>(good[0]) +
               256 * static_cast<unsigned char>(good[1]);
      break;
    }
  }
  ASSERT_LT(header, good.size());
  Rng rng(20'261'128);
  std::size_t merged = 0;
  std::size_t refused = 0;
  for (int round = 0; round < 1200; ++round) {
    std::string bad = good;
    const auto mutations = 1 + rng.below(3);
    for (std::uint64_t m = 0; m < mutations; ++m) {
      const auto at = rng.below(header);
      switch (rng.below(4)) {
        case 0:
          bad[at] = static_cast<char>(rng.below(256));
          break;
        case 1:  // digits stay digits: shapes and offsets that lie
          if (bad[at] >= '0' && bad[at] <= '9') bad[at] = static_cast<char>('0' + rng.below(10));
          break;
        case 2:
          bad.erase(at, 1 + rng.below(4));
          break;
        default:
          bad.resize(rng.below(bad.size() + 1));
          break;
      }
      if (bad.size() < header) break;
    }
    std::ofstream(folder("bad") + "/model.safetensors", std::ios::binary | std::ios::trunc) << bad;
    const MergeRule rule = MergeRule::of(MergeMethod::ties);
    auto sources = MergeSources::open(paths("good", {"other", "bad"}), rule);
    if (!sources) {
      ++refused;
      EXPECT_FALSE(sources.error().text().empty());
      continue;
    }
    ++merged;
    const auto shared = std::make_shared<const MergeSources>(std::move(*sources));
    auto engine = cpu_merge_engine(shared, rule);
    ASSERT_TRUE(engine) << engine.error().text();
    MemoryOutput output(shared->layouts(), 1);
    const std::vector<MergeCandidate> one{{{{{0.5, 0.5}, {0.5, 0.5}, 1, 0}}, 0}};
    EXPECT_TRUE((*engine)->merge(one, output));
  }
  EXPECT_GT(refused, 800U);
  EXPECT_GT(merged, 5U);
}

}  // namespace
}  // namespace paretod
