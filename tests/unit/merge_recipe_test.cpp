#include "evaluators/merge/merge_recipe.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/support/scratch_directory.hpp"
#include "tests/support/test_models.hpp"

namespace paretod {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* whole = R"({
  "method": "della", "base": "base", "dtype": "bfloat16", "lambda": 0.8, "epsilon": 0.1,
  "normalize": false, "rescale": "l1", "seed": 7,
  "sources": [{"name": "math", "path": "models/math", "weight": 0.5, "density": 0.6},
              {"name": "code", "path": "/models/code", "density": 0.25}],
  "groups": [{"name": "attention", "match": [{"contains": "attn"}, {"prefix": "a."}],
              "weight": {"math": 1e-5}, "density": 0.9},
             {"name": "rest", "match": [{"regex": "^b\\."}], "lambda": 2}]})";

TEST(MergeRecipe, IsReadWholeAndReadsBackWhatItWrites) {
  const auto recipe = parse_recipe(whole, "/home");
  ASSERT_TRUE(recipe) << recipe.error().text();
  EXPECT_EQ(recipe->paths.base, "/home/base");
  EXPECT_EQ(recipe->paths.sources[0].path, "/home/models/math");
  EXPECT_EQ(recipe->paths.sources[1].path, "/models/code");
  EXPECT_EQ(recipe->dtype, DType::bf16);
  EXPECT_EQ(recipe->rule.method, MergeMethod::della);
  EXPECT_EQ(recipe->rule.rescale, Rescale::l1);
  EXPECT_FALSE(recipe->rule.normalize);
  EXPECT_EQ(recipe->numbers.seed, 7U);
  ASSERT_EQ(recipe->numbers.groups.size(), 3U);
  EXPECT_EQ(recipe->numbers.groups[0].weights, (std::vector<double>{1e-5, 1}));
  EXPECT_EQ(recipe->numbers.groups[0].densities, (std::vector<double>{0.9, 0.9}));
  EXPECT_EQ(recipe->numbers.groups[0].lambda, 0.8);
  EXPECT_EQ(recipe->numbers.groups[1].weights, (std::vector<double>{0.5, 1}));
  EXPECT_EQ(recipe->numbers.groups[1].lambda, 2);
  EXPECT_EQ(recipe->numbers.groups[2].densities, (std::vector<double>{0.6, 0.25}));

  const std::string text = recipe_text(*recipe);
  const auto again = parse_recipe(text, "/elsewhere");
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(recipe_text(*again), text);
}

TEST(MergeRecipe, ErrorsPointAtTheField) {
  const auto problem = [](const std::string& text) {
    const auto recipe = parse_recipe(text, "");
    if (recipe) return std::string("none");
    if (recipe.error().problems.empty()) return recipe.error().message;
    return recipe.error().problems[0].pointer + ": " + recipe.error().problems[0].message;
  };
  const auto with = [&](const std::string& method, const std::string& fields) {
    return problem(R"({"method": ")" + method + R"(", "base": "b", )" + fields +
                   R"(, "sources": [{"name": "a", "path": "a"}]})");
  };
  EXPECT_THAT(problem("["), HasSubstr("JSON"));
  EXPECT_THAT(problem("[]"), HasSubstr("object"));
  EXPECT_THAT(problem(R"({"method": "magic", "sources": []})"),
              HasSubstr("/method: has to be one of: linear, slerp, task_arithmetic"));
  EXPECT_EQ(problem(R"({"method": "linear"})"), "/sources: is required");
  EXPECT_THAT(problem(R"({"method": "linear", "sources": [{"name": "a"}]})"),
              HasSubstr("/sources/0/path: is required"));
  EXPECT_THAT(problem(R"({"method": "linear", "sources": [{"path": "a"}]})"),
              HasSubstr("/sources/0/name: is required"));
  EXPECT_EQ(with("linear", R"("gamma": 0.1)"),
            "/gamma: means nothing to the method linear; leave it out");
  EXPECT_THAT(with("ties", R"("t": 0.1)"), HasSubstr("/t: means nothing"));
  EXPECT_THAT(with("ties", R"("rescale": "max")"), HasSubstr("/rescale: has to be none"));
  EXPECT_THAT(with("ties", R"("dtype": "int8")"), HasSubstr("/dtype: has to be float32"));
  EXPECT_THAT(with("della", R"("epsilon": 0.6)"), HasSubstr("/epsilon: has to be a number"));
  EXPECT_THAT(with("ties", R"("colour": 1)"), HasSubstr("/colour"));
  EXPECT_THAT(with("ties", R"("groups": [{"name": "g", "match": []}])"),
              HasSubstr("/groups/0/match: has to be an array of"));
  EXPECT_THAT(
      with("ties", R"("groups": [{"name": "g", "match": [{"prefix": "a", "regex": "b"}]}])"),
      HasSubstr("/groups/0/match/0: has to have one of"));
  EXPECT_THAT(with("ties", R"("groups": [{"name": "g!", "match": [{"prefix": "a"}]}])"),
              HasSubstr("/groups/0/name"));
  EXPECT_THAT(
      with("ties", R"("groups": [{"name": "g", "match": [{"prefix": "a"}], "weight": {"x": 1}}])"),
      HasSubstr("/groups/0/weight/x"));
}

TEST(MergeRecipe, ProblemsOfItsNumbersPointAtWhatWasWritten) {
  const auto problems = [](const std::string& fields, const std::string& second = "") {
    const auto recipe = parse_recipe(
        R"({"method": "linear", "sources": [{"name": "math", "path": "a"},
            {"name": "code", "path": "b", )" +
            (second.empty() ? R"("weight": -1)" : second) + "}]" + fields + "}",
        "");
    EXPECT_TRUE(recipe) << recipe.error().text();
    std::string text;
    for (const Problem& problem :
         in_recipe(*recipe, check_candidate(recipe->rule, 2, recipe->numbers))) {
      text += problem.pointer + ": " + problem.message.substr(0, 20) + "\n";
    }
    return text;
  };
  EXPECT_EQ(problems(""), "/sources: the weights sum to 0\n");
  EXPECT_EQ(problems(R"(, "groups": [{"name": "g", "match": [{"prefix": "a"}]}])"),
            "/sources: the weights sum to 0\n")
      << "named once: the group has it from the whole";
  EXPECT_EQ(problems(R"(, "groups": [{"name": "g", "match": [{"prefix": "a"}],
                         "weight": {"math": -2}}])",
                     R"("weight": 2)"),
            "/groups/0/weight: the weights sum to 0\n");
  EXPECT_EQ(problems(R"(, "groups": [{"name": "g", "match": [{"prefix": "a"}],
                         "weight": {"code": 1e300}}])",
                     R"("weight": 2)"),
            "/groups/0/weight/code: has to be a finite n\n");
  EXPECT_EQ(problems("", R"("weight": 1e300)"), "/sources/1/weight: has to be a finite n\n");
}

TEST(MergeRecipe, MergekitIsToldFoldersAndWhatItCannotRead) {
  const test::ScratchDirectory scratch;
  const std::vector<TensorLayout> layout{{"w", DType::f32, {2}}};
  for (const char* name : {"base", "math", "code"}) {
    write_model((scratch.path() / name).string(), layout, random_contents(layout, 1));
    std::ofstream(scratch.path() / name / "config.json") << "{}";
  }
  std::filesystem::copy_file(scratch.path() / "math/model.safetensors",
                             scratch.path() / "code/code.safetensors");
  const auto yaml = [&](const std::string& code) {
    const auto recipe = parse_recipe(
        R"({"method": "task_arithmetic", "base": "base/model.safetensors",
            "sources": [{"name": "math", "path": "math"}, {"name": "code", "path": ")" +
            code + R"("}]})",
        scratch.path().string());
    const auto sources = MergeSources::open(recipe->paths, recipe->rule);
    EXPECT_TRUE(sources) << sources.error().text();
    return *mergekit_text(*recipe, *sources);
  };
  const std::string folder = scratch.path().string();
  const std::string good = yaml("code/model.safetensors");
  EXPECT_THAT(good,
              StartsWith("merge_method: task_arithmetic\nbase_model: \"" + folder + "/base\"\n"));
  EXPECT_THAT(good, HasSubstr("- model: \"" + folder + "/code\"\n"));
  EXPECT_THAT(yaml("code/code.safetensors"),
              StartsWith("# mergekit cannot read the file " + folder +
                         "/code/code.safetensors: make a folder with the model's config.json and "
                         "this file as model.safetensors"));
  std::filesystem::remove(scratch.path() / "math/config.json");
  EXPECT_THAT(yaml("code"), StartsWith("# mergekit cannot read the folder " + folder +
                                       "/math: put the model's config.json into it\n"));
}

/// What mergekit makes of a configuration's parameter for a tensor (mergekit/config.py,
/// evaluate_setting), read from our YAML.
double mergekit_value(const std::string& yaml, const std::string& parameter,
                      const std::string& tensor) {
  std::size_t at = yaml.find(parameter + ":");
  EXPECT_NE(at, std::string::npos);
  at += parameter.size() + 1;
  if (yaml[at] == ' ') return std::stod(yaml.substr(at));
  while (true) {
    at = yaml.find("- ", at) + 2;
    std::string filter;
    if (yaml.compare(at, 9, "filter: \"") == 0) {
      const std::size_t end = yaml.find('"', at + 9);
      filter = yaml.substr(at + 9, end - at - 9);
    }
    at = yaml.find("value: ", at) + 7;
    if (tensor.find(filter) != std::string::npos) return std::stod(yaml.substr(at));
  }
}

TEST(MergeRecipe, MergekitChoosesTheSameNumbersForEveryTensor) {
  const test::ScratchDirectory scratch;
  std::vector<TensorLayout> layout;
  for (const char* name : {"a.w", "aa.w", "a.w.b", "model.a.w", "attn.q", "b.attn", "c"}) {
    layout.push_back({name, DType::f32, {2}});
  }
  for (const char* name : {"base", "math", "code"}) {
    write_model((scratch.path() / name).string(), layout, random_contents(layout, 1));
    std::ofstream(scratch.path() / name / "config.json") << "{}";
  }
  for (const char* groups :
       {R"([{"name": "x", "match": [{"contains": "attn"}], "weight": 0.1, "density": 0.7},
            {"name": "y", "match": [{"contains": "b"}], "weight": {"code": 1e-7}, "lambda": 3}])",
        R"([{"name": "x", "match": [{"prefix": "a."}], "weight": 0.25},
            {"name": "y", "match": [{"regex": "^a+\\.w$"}], "weight": 0.5, "lambda": 2},
            {"name": "z", "match": [{"contains": "w"}], "weight": 0.75}])"}) {
    const auto recipe = parse_recipe(
        R"({"method": "ties", "base": "base", "sources": [{"name": "math", "path": "math"},
            {"name": "code", "path": "code"}], "groups": )" +
            std::string(groups) + "}",
        scratch.path().string());
    ASSERT_TRUE(recipe) << recipe.error().text();
    const auto sources = MergeSources::open(recipe->paths, recipe->rule);
    ASSERT_TRUE(sources) << sources.error().text();
    const auto yaml = mergekit_text(*recipe, *sources);
    ASSERT_TRUE(yaml);
    EXPECT_THAT(*yaml, HasSubstr("merge_method: ties\n"));
    const std::string math =
        yaml->substr(yaml->find("/math"), yaml->find("/code") - yaml->find("/math"));
    const std::string code = yaml->substr(yaml->find("/code"));
    for (const MergedTensor& tensor : sources->tensors()) {
      const GroupCoefficients& numbers = recipe->numbers.groups[tensor.group];
      const std::string& name = tensor.layout.name;
      EXPECT_EQ(mergekit_value(math, "weight", name), numbers.weights[0]) << name << *yaml;
      EXPECT_EQ(mergekit_value(code, "weight", name), numbers.weights[1]) << name << *yaml;
      EXPECT_EQ(mergekit_value(math, "density", name), numbers.densities[0]) << name;
      EXPECT_EQ(mergekit_value(*yaml, "lambda", name), numbers.lambda) << name;
    }
  }
}

}  // namespace
}  // namespace paretod
