#include "evaluators/merge/merge_engine.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <ostream>
#include <utility>

#include "evaluators/merge/merge_outputs.hpp"
#include "tests/support/merge_reference.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/test_models.hpp"

namespace paretod {
namespace {

/// Odd sizes, a scalar, an empty tensor, one above a unit of the passes, a counter that is copied.
std::vector<TensorLayout> odd_layout(DType dtype) {
  return {{"embed.weight", dtype, {97, 33}},
          {"layer.0.bias", dtype, {1}},
          {"layer.0.weight", dtype, {513, 129}},
          {"layer.1.weight", dtype, {7, 5, 3}},
          {"nothing", dtype, {0, 4}},
          {"scale", dtype, {}},
          {"steps", DType::i64, {3}}};
}

class MergeEngineTest : public testing::Test {
 protected:
  /// A base and sources around it, and importances.
  void write(const std::vector<TensorLayout>& layout, std::size_t sources,
             std::uint64_t shard_bytes = 1 << 30) {
    paths_ = {};
    paths_.base = folder("base");
    write_model(paths_.base, layout, random_contents(layout, 1), shard_bytes);
    base_ = read_model(paths_.base);
    for (std::size_t k = 0; k < sources; ++k) {
      const std::string name = "source" + std::to_string(k);
      write_model(folder(name), layout, random_contents(layout, 10 + k, 0.1F, &base_), shard_bytes);
      auto importance = random_contents(layout, 50 + k);
      for (std::size_t t = 0; t < layout.size(); ++t) {
        if (layout[t].dtype == DType::i64) continue;
        // Squares, some of them 0 everywhere.
        const TensorView view{"", layout[t].dtype, layout[t].shape, importance[t]};
        std::vector<float> values = *to_floats(view);
        for (std::size_t i = 0; i < values.size(); ++i) {
          values[i] = i % 11 == 3 ? 0 : values[i] * values[i];
        }
        importance[t] = stored(layout[t].dtype, values);
      }
      write_model(folder(name + "-importance"), layout, importance);
      paths_.sources.push_back({name, folder(name), folder(name + "-importance")});
    }
  }

  std::string folder(const std::string& name) const { return (scratch_.path() / name).string(); }

  Result<MergeSources> open(const MergeRule& rule, std::optional<DType> dtype = {}) const {
    MergePaths paths = paths_;
    if (!traits_of(rule.method).uses_base) paths.base.clear();
    return MergeSources::open(paths, rule, dtype);
  }

  /// Merged tensors of each candidate.
  static std::vector<TensorValues> values_of(const MemoryOutput& output, std::size_t candidates) {
    std::vector<TensorValues> merged(candidates);
    for (std::size_t p = 0; p < candidates; ++p) {
      for (const TensorView& view : output.tensors(p)) {
        if (view.dtype != DType::i64) merged[p][view.name] = *to_floats(view);
      }
    }
    return merged;
  }

  /// All bytes of each candidate.
  std::vector<std::vector<std::byte>> merge_bytes(const MergeRule& rule,
                                                  const std::vector<MergeCandidate>& candidates,
                                                  const MergeLimits& limits,
                                                  std::optional<DType> dtype = {}) {
    auto sources = open(rule, dtype);
    if (!sources) throw std::runtime_error(sources.error().text());
    const auto shared = std::make_shared<const MergeSources>(std::move(*sources));
    auto engine = cpu_merge_engine(shared, rule, limits);
    if (!engine) throw std::runtime_error(engine.error().text());
    MemoryOutput output(shared->layouts(), candidates.size());
    const auto merged = (*engine)->merge(candidates, output, {});
    if (!merged) throw std::runtime_error(merged.error().text());
    std::vector<std::vector<std::byte>> bytes(candidates.size());
    for (std::size_t p = 0; p < candidates.size(); ++p) {
      for (const TensorView& view : output.tensors(p)) {
        bytes[p].insert(bytes[p].end(), view.bytes.begin(), view.bytes.end());
      }
    }
    return bytes;
  }

  test::ScratchDirectory scratch_;
  MergePaths paths_;
  TensorValues base_;
};

std::vector<MergeCandidate> some_candidates(const MergeRule& rule, std::size_t sources,
                                            std::size_t count, std::uint64_t seed = 3) {
  Rng rng(seed);
  std::vector<MergeCandidate> candidates(count);
  for (std::size_t p = 0; p < count; ++p) {
    candidates[p].seed = p % 2;
    for (std::size_t g = 0; g < rule.group_count(); ++g) {
      GroupCoefficients group;
      for (std::size_t k = 0; k < sources; ++k) {
        group.weights.push_back(rng.uniform(0.1, 1));
        group.densities.push_back(p == 1 && k == 0 ? 1 : p == 2 && k == 0 ? 0 : rng.uniform());
      }
      group.lambda = rng.uniform(0.5, 1.5);
      group.t = rng.uniform();
      candidates[p].groups.push_back(std::move(group));
    }
  }
  return candidates;
}

constexpr MergeMethod all_methods[] = {MergeMethod::linear,          MergeMethod::slerp,
                                       MergeMethod::task_arithmetic, MergeMethod::ties,
                                       MergeMethod::dare_linear,     MergeMethod::dare_ties,
                                       MergeMethod::della_linear,    MergeMethod::della,
                                       MergeMethod::breadcrumbs,     MergeMethod::breadcrumbs_ties,
                                       MergeMethod::fisher};

struct Case {
  MergeMethod method;
  DType dtype;
  Rescale rescale;
  bool normalize;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << name_of(c.method) << ' ' << name_of(c.dtype) << ' ' << name_of(c.rescale)
       << (c.normalize ? " normalized" : "");
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const MergeMethod method : all_methods) {
    const MergeTraits traits = traits_of(method);
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::f64}) {
      all.push_back({method, dtype, traits.rescale, traits.normalize});
    }
    if (traits.sparsifier == Sparsifier::none) {
      all.push_back({method, DType::f32, Rescale::none, !traits.normalize});
      continue;
    }
    for (const Rescale rescale : {Rescale::none, Rescale::expected, Rescale::l1}) {
      all.push_back({method, DType::f32, rescale, !traits.normalize});
    }
  }
  return all;
}

class MergeMethodTest : public MergeEngineTest, public testing::WithParamInterface<Case> {};

TEST_P(MergeMethodTest, IsWhatItsFormulaSays) {
  const Case& c = GetParam();
  const std::size_t count = c.method == MergeMethod::slerp ? 2 : 3;
  write(odd_layout(c.dtype), count);
  MergeRule rule = MergeRule::of(c.method);
  rule.rescale = c.rescale;
  rule.normalize = c.normalize;
  rule.gamma = 0.1;
  auto opened = open(rule);
  ASSERT_TRUE(opened) << opened.error().text();
  const auto sources = std::make_shared<const MergeSources>(std::move(*opened));
  auto engine = cpu_merge_engine(sources, rule, {.threads = 2});
  ASSERT_TRUE(engine) << engine.error().text();
  const auto candidates = some_candidates(rule, count, 3);
  MemoryOutput output(sources->layouts(), candidates.size());
  const auto merged = (*engine)->merge(candidates, output);
  ASSERT_TRUE(merged) << merged.error().text();
  const auto values = values_of(output, candidates.size());
  std::vector<TensorValues> source_values;
  std::vector<TensorValues> importance_values;
  for (const auto& source : paths_.sources) {
    source_values.push_back(read_model(source.path));
    importance_values.push_back(read_model(source.importance));
  }
  const double relative = c.dtype == DType::bf16 ? 0x1p-8 : c.dtype == DType::f16 ? 0x1p-10 : 1e-5;
  for (const MergedTensor& tensor : sources->tensors()) {
    const std::string& name = tensor.layout.name;
    if (tensor.copied) continue;
    ReferenceTensor reference{name, tensor.layout.shape, {}, {}, {}};
    if (traits_of(c.method).uses_base) reference.base = base_[name];
    for (std::size_t k = 0; k < count; ++k) {
      reference.sources.push_back(source_values[k][name]);
      reference.importance.push_back(importance_values[k][name]);
    }
    for (std::size_t p = 0; p < candidates.size(); ++p) {
      const auto expected =
          reference_merge(rule, reference, candidates[p].groups[tensor.group], candidates[p].seed);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(values[p].at(name)[i], expected[i], relative * std::abs(expected[i]) + 2e-6)
            << name << " element " << i << " of candidate " << p;
      }
    }
  }
  // The counter comes from the base, else the first source.
  const auto original =
      ModelFiles::open(rule.method == MergeMethod::linear || rule.method == MergeMethod::slerp ||
                               rule.method == MergeMethod::fisher
                           ? paths_.sources[0].path
                           : paths_.base);
  const TensorView* steps = original->find("steps");
  for (const TensorView& view : output.tensors(2)) {
    if (view.name != "steps") continue;
    EXPECT_TRUE(
        std::equal(view.bytes.begin(), view.bytes.end(), steps->bytes.begin(), steps->bytes.end()));
  }
}

INSTANTIATE_TEST_SUITE_P(All, MergeMethodTest, testing::ValuesIn(cases()));

class MergeBitsTest : public MergeEngineTest, public testing::WithParamInterface<MergeMethod> {};

TEST_P(MergeBitsTest, AreTheSameHoweverTheWorkIsCut) {
  const std::size_t count = GetParam() == MergeMethod::slerp ? 2 : 3;
  // Big enough for several windows of the smallest cap.
  std::vector<TensorLayout> layout = odd_layout(DType::bf16);
  layout.push_back({"large", DType::f16, {400, 1031}});
  write(layout, count);
  MergeRule rule = MergeRule::of(GetParam());
  rule.gamma = 0.05;
  if (traits_of(rule.method).sparsifier != Sparsifier::none) rule.rescale = Rescale::l1;
  const auto candidates = some_candidates(rule, count, 17);
  const auto expected = merge_bytes(rule, candidates, {.threads = 1});
  MergeLimits tight{2, 1 << 20, 0};
  auto opened = open(rule);
  const auto sources = std::make_shared<const MergeSources>(std::move(*opened));
  while (!cpu_merge_engine(sources, rule, tight)) tight.memory_bytes += 1 << 19;
  for (const MergeLimits& limits : {MergeLimits{3, 0, 100}, MergeLimits{2, 0, 4000}, tight}) {
    EXPECT_EQ(merge_bytes(rule, candidates, limits), expected)
        << limits.threads << " threads, blocks of " << limits.block_elements;
  }
  // One at a time.
  for (const std::size_t p : {1, 16}) {
    EXPECT_EQ(merge_bytes(rule, {candidates[p]}, {.threads = 1})[0], expected[p]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, MergeBitsTest, testing::ValuesIn(all_methods),
                         [](const auto& subject) { return std::string(name_of(subject.param)); });

TEST_F(MergeEngineTest, OneSourceIsItselfAndZeroWeightsAreTheBase) {
  write(odd_layout(DType::f32), 3);
  const MergeRule linear = MergeRule::of(MergeMethod::linear);
  const auto one = merge_bytes(linear, {{{{{0, 1, 0}, {}, 1, 0}}, 0}}, {});
  auto model = ModelFiles::open(paths_.sources[1].path);
  std::vector<std::byte> bytes;
  const auto sources = open(linear);
  for (const MergedTensor& tensor : sources->tensors()) {
    const auto& from = tensor.copied ? tensor.original->bytes : tensor.sources[1]->bytes;
    bytes.insert(bytes.end(), from.begin(), from.end());
  }
  EXPECT_EQ(one[0], bytes);

  bytes.clear();
  for (const MergeMethod method : {MergeMethod::task_arithmetic, MergeMethod::ties,
                                   MergeMethod::dare_linear, MergeMethod::breadcrumbs}) {
    const auto none =
        merge_bytes(MergeRule::of(method), {{{{{0, 0, 0}, {.5, .5, .5}, 1, 0}}, 0}}, {});
    const auto with_base = open(MergeRule::of(method));
    bytes.clear();
    for (const MergedTensor& tensor : with_base->tensors()) {
      bytes.insert(bytes.end(), tensor.base->bytes.begin(), tensor.base->bytes.end());
    }
    EXPECT_EQ(none[0], bytes) << name_of(method);
  }
}

TEST_F(MergeEngineTest, GroupsHaveCoefficientsOfTheirOwn) {
  write(odd_layout(DType::f32), 2);
  MergeRule rule = MergeRule::of(MergeMethod::task_arithmetic);
  using Kind = TensorPattern::Kind;
  rule.groups = {{"first", {{Kind::prefix, "layer.0."}}},
                 {"odd", {{Kind::regex, "^layer\\.[13579]+\\.|^scale$"}}},
                 {"layers", {{Kind::contains, "mbed"}, {Kind::prefix, "layer"}}}};
  auto refused = open(rule);
  ASSERT_TRUE(refused) << refused.error().text();
  std::map<std::string, std::size_t> groups;
  for (const MergedTensor& tensor : refused->tensors()) {
    groups[tensor.layout.name] = tensor.group;
  }
  EXPECT_EQ(groups, (std::map<std::string, std::size_t>{{"embed.weight", 2},
                                                        {"layer.0.bias", 0},
                                                        {"layer.0.weight", 0},
                                                        {"layer.1.weight", 1},
                                                        {"nothing", 3},
                                                        {"scale", 1},
                                                        {"steps", 3}}));
  const auto candidates = some_candidates(rule, 2, 2);
  const auto together = merge_bytes(rule, candidates, {});
  std::vector<std::byte> expected;
  MergeRule plain = rule;
  plain.groups.clear();
  const auto sources = open(rule);
  for (std::size_t g = 0; g < 4; ++g) {
    // With the coefficients of group g everywhere, its tensors come out the same.
    const auto alone = merge_bytes(plain, {{{candidates[1].groups[g]}, 0}}, {});
    std::size_t at = 0;
    for (const MergedTensor& tensor : sources->tensors()) {
      const std::size_t size = tensor.layout.bytes();
      if (tensor.group == g) {
        EXPECT_EQ(std::memcmp(&together[1][at], &alone[0][at], size), 0) << tensor.layout.name;
      }
      at += size;
    }
  }
}

TEST_F(MergeEngineTest, DtypesOfSourcesMayDifferAndTheOutputCanBeChosen) {
  write(odd_layout(DType::f32), 2);
  const auto layout = odd_layout(DType::bf16);
  write_model(folder("narrow"), layout, random_contents(layout, 9));
  paths_.sources[1].path = folder("narrow");
  const MergeRule rule = MergeRule::of(MergeMethod::linear);
  const auto sources = open(rule, DType::f16);
  ASSERT_TRUE(sources) << sources.error().text();
  const TensorValues first = read_model(paths_.sources[0].path);
  const TensorValues second = read_model(paths_.sources[1].path);
  std::size_t at = 0;
  const auto bytes = merge_bytes(rule, {{{{{1, 3}, {}, 1, 0}}, 0}}, {}, DType::f16);
  for (const MergedTensor& tensor : sources->tensors()) {
    if (!tensor.copied) {
      EXPECT_EQ(tensor.layout.dtype, DType::f16);
      std::vector<float> merged(tensor.layout.elements());
      widen_f16(&bytes[0][at], merged.size(), merged.data());
      for (std::size_t i = 0; i < merged.size(); ++i) {
        const float expected =
            0.25F * first.at(tensor.layout.name)[i] + 0.75F * second.at(tensor.layout.name)[i];
        ASSERT_NEAR(merged[i], expected, std::abs(expected) * 0x1p-10F + 1e-6F);
      }
    }
    at += tensor.layout.bytes();
  }
}

TEST_F(MergeEngineTest, ALargerDensityKeepsWhatASmallerOneKept) {
  write({{"w", DType::f32, {200, 50}}}, 1);
  MergeRule rule = MergeRule::of(MergeMethod::dare_linear);
  rule.rescale = Rescale::none;
  std::vector<std::size_t> changed;
  std::vector<bool> before(10'000, false);
  for (const double density : {0.1, 0.5, 0.9}) {
    const auto bytes = merge_bytes(rule, {{{{{1}, {density}, 1, 0}}, 7}}, {});
    const auto* merged = reinterpret_cast<const float*>(bytes[0].data());
    std::size_t count = 0;
    for (std::size_t i = 0; i < 10'000; ++i) {
      const bool kept = merged[i] != base_["w"][i];
      EXPECT_TRUE(kept || !before[i]);
      before[i] = kept;
      count += kept ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(count), 10'000 * density, 4 * std::sqrt(2500));
  }
  const auto other = merge_bytes(rule, {{{{{1}, {0.9}, 1, 0}}, 8}}, {});
  const auto* merged = reinterpret_cast<const float*>(other[0].data());
  std::size_t different = 0;
  for (std::size_t i = 0; i < 10'000; ++i) {
    different += (merged[i] != base_["w"][i]) != before[i] ? 1 : 0;
  }
  EXPECT_GT(different, 1000U);  // another seed, another mask
}

TEST_F(MergeEngineTest, RefusesCoefficientsThatMeanNothing) {
  const auto first_problem = [](MergeMethod method, GroupCoefficients group) {
    const Problems problems = check_candidate(MergeRule::of(method), 2, {{std::move(group)}, 0});
    return problems.empty() ? std::string("none") : problems[0].pointer;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(first_problem(MergeMethod::linear, {{1, 0}, {}, 1, 0}), "none");
  EXPECT_EQ(first_problem(MergeMethod::linear, {{1, -1}, {}, 1, 0}), "/groups/0/weights");
  EXPECT_EQ(first_problem(MergeMethod::linear, {{1}, {}, 1, 0}), "/groups/0/weights");
  EXPECT_EQ(first_problem(MergeMethod::linear, {{1, nan}, {}, 1, 0}), "/groups/0/weights/1");
  EXPECT_EQ(first_problem(MergeMethod::linear, {{1, 1e300}, {}, 1, 0}), "/groups/0/weights/1");
  EXPECT_EQ(first_problem(MergeMethod::task_arithmetic, {{1, -1}, {}, 1, 0}), "none");
  EXPECT_EQ(first_problem(MergeMethod::task_arithmetic, {{1, -1}, {}, nan, 0}), "/groups/0/lambda");
  EXPECT_EQ(first_problem(MergeMethod::ties, {{1, 1}, {0.5, 1.5}, 1, 0}), "/groups/0/densities/1");
  EXPECT_EQ(first_problem(MergeMethod::fisher, {{1, -1}, {}, 1, 0}), "/groups/0/weights");
  EXPECT_EQ(first_problem(MergeMethod::slerp, {{}, {}, 1, nan}), "/groups/0/t");
  EXPECT_EQ(check_candidate(MergeRule::of(MergeMethod::linear), 1, {}).size(), 1U);
}

TEST(FiniteCheck, CountsWhatIsNotFiniteOfEachDtype) {
  struct Passed final : MergeOutput {
    std::byte* memory(std::size_t, std::size_t) override { return nullptr; }
    Result<void> write(std::size_t, std::size_t, std::uint64_t,
                       std::span<const std::byte> bytes) override {
      written += bytes.size();
      return {};
    }
    std::size_t written = 0;
  } files;
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<TensorLayout> layouts{{"a", DType::f32, {5'000}},
                                          {"b", DType::f16, {5'000}},
                                          {"c", DType::bf16, {5'000}},
                                          {"d", DType::f32, {5'000}},
                                          {"e", DType::i64, {1}}};
  FiniteCheck check(files, layouts);
  std::vector<float> values(5'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 2'000;
  const auto write = [&](std::size_t tensor) {
    const auto bytes = stored(layouts[tensor].dtype, values);
    EXPECT_TRUE(check.write(0, tensor, 0, bytes));
  };
  for (std::size_t t = 0; t < 4; ++t) write(t);
  const std::int64_t integer = -1;  // all bits set
  EXPECT_TRUE(check.write(0, 4, 0, std::as_bytes(std::span(&integer, 1))));
  EXPECT_EQ(check.warning(), "");
  EXPECT_EQ(files.written, 2 * 20'000 + 2 * 10'000 + 8U);

  values[4'999] = nan;
  values[0] = -nan;
  write(2);
  values[0] = values[4'999] = 0;
  values[1'024] = 70'000;
  values[1'025] = -infinity;
  write(1);
  EXPECT_EQ(check.warning(),
            "4 numbers of the merged model are not finite (2 NaN, 2 infinite), in 2 tensors: "
            "\"b\" (2 of 5000), \"c\" (2 of 5000); look for them in the sources; float16 ends at "
            "65504: take dtype bfloat16 or float32, or smaller weights");
}

TEST_F(MergeEngineTest, RefusesNegativeImportances) {
  const std::vector<TensorLayout> layout{{"w", DType::f32, {100}}};
  write(layout, 2);
  std::vector<float> values(100, 1.0F);
  values[99] = -1e-9F;
  write_model(paths_.sources[1].importance, layout, {stored(DType::f32, values)});
  const MergeRule rule = MergeRule::of(MergeMethod::fisher);
  try {
    merge_bytes(rule, some_candidates(rule, 2, 1), {});
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(),
                 "an importance of tensor \"w\" is negative or not a number; fisher needs squares");
  }
}

TEST_F(MergeEngineTest, ACapThatIsTooSmallSaysWhatIsNeeded) {
  write({{"w", DType::f32, {3, 200'000}}}, 2);
  for (const auto& [method, needs] :
       {std::pair{MergeMethod::ties, "by ties needs at least"},
        std::pair{MergeMethod::della, "della ranks rows of up to 200000 elements"}}) {
    auto sources = open(MergeRule::of(method));
    const auto engine = cpu_merge_engine(std::make_shared<MergeSources>(std::move(*sources)),
                                         MergeRule::of(method), {1, 1 << 20, 0});
    ASSERT_FALSE(engine);
    EXPECT_EQ(engine.error().kind, ErrorKind::exhausted);
    EXPECT_NE(engine.error().message.find(needs), std::string::npos) << engine.error().message;
  }
}

TEST_F(MergeEngineTest, WritesFoldersOfShardsAndCanBeCancelled) {
  std::vector<TensorLayout> layout = odd_layout(DType::bf16);
  write(layout, 3, 20'000);
  const MergeRule rule = MergeRule::of(MergeMethod::ties);
  const auto candidates = some_candidates(rule, 3, 2);
  const auto expected = merge_bytes(rule, candidates, {});
  auto opened = open(rule);
  const auto sources = std::make_shared<const MergeSources>(std::move(*opened));
  auto engine = cpu_merge_engine(sources, rule, {.threads = 2});
  std::vector<SafetensorsWriter> writers;
  for (const char* name : {"out0", "out1"}) {
    std::filesystem::create_directories(folder(name));
    writers.push_back(
        std::move(*SafetensorsWriter::create(folder(name), sources->layouts(), 50'000, {})));
  }
  FileOutput output(writers);
  std::uint64_t last = 0;
  std::uint64_t all = 0;
  ASSERT_TRUE((*engine)->merge(candidates, output, [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GE(done, last);
    last = done;
    all = total;
    return true;
  }));
  EXPECT_EQ(last, all);
  EXPECT_EQ(all, sources->input_bytes());
  for (std::size_t p = 0; p < 2; ++p) {
    ASSERT_TRUE(writers[p].commit());
    const auto model = ModelFiles::open(folder("out" + std::to_string(p)));
    ASSERT_TRUE(model) << model.error().text();
    EXPECT_GT(model->files().size(), 1U);
    std::vector<std::byte> bytes;
    for (const MergedTensor& tensor : sources->tensors()) {
      const auto& from = model->find(tensor.layout.name)->bytes;
      bytes.insert(bytes.end(), from.begin(), from.end());
    }
    EXPECT_EQ(bytes, expected[p]);
  }
  MemoryOutput memory(sources->layouts(), 2);
  const auto cancelled =
      (*engine)->merge(candidates, memory, [](std::uint64_t, std::uint64_t) { return false; });
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().message, "the merge was cancelled");
}

}  // namespace
}  // namespace paretod
