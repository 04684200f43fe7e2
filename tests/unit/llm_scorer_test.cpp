// Scorers, examples and candidates of the LLM evaluator.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "evaluators/llm/dataset.hpp"
#include "evaluators/llm/genome.hpp"
#include "evaluators/llm/scorer.hpp"
#include "tests/support/scratch_directory.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

double text_score(const std::string& scorer, const std::string& text, const std::string& answer,
                  const std::vector<std::string>& normalise = {}, const std::string& pattern = "") {
  const auto made = Scorer::make(scorer, normalise, pattern);
  EXPECT_TRUE(made) << made.error().text();
  Replies replies;
  replies.generation.emplace();
  replies.generation->text = text;
  return made->score({"Q", answer}, replies).value;
}

Completion scored(std::vector<double> logprobs) {
  Completion completion;
  completion.logprobs = std::move(logprobs);
  return completion;
}

TEST(Scorers, CompareTexts) {
  EXPECT_EQ(text_score("exact_match", " Paris \n", "Paris"), 1);
  EXPECT_EQ(text_score("exact_match", "paris.", "Paris"), 0);
  EXPECT_EQ(text_score("exact_match", "The  paris.", "Paris", {"lower", "punctuation", "articles"}),
            1);
  EXPECT_EQ(text_score("contains", "It is Paris, of course", "Paris"), 1);
  EXPECT_EQ(text_score("contains", "Rome", "Paris"), 0);
  EXPECT_EQ(text_score("numeric", "so 3 * 4 = 1,200.50 dollars.", "#### 1200.5"), 1);
  EXPECT_EQ(text_score("numeric", "no number", "7"), 0);
  EXPECT_EQ(text_score("numeric", "#### 5\nor 6", "5", {}, "#### (-?[0-9]+)"), 1);
  EXPECT_EQ(text_score("json_valid", " {\"a\": [1]} ", ""), 1);
  EXPECT_EQ(text_score("json_valid", "{\"a\": ", ""), 0);
  EXPECT_DOUBLE_EQ(text_score("token_f1", "the cat sat", "cat sat down"), 2.0 / 3);
  EXPECT_EQ(text_score("token_f1", "", ""), 1);
  EXPECT_EQ(text_score("token_f1", "x", ""), 0);
}

TEST(Scorers, CompareSetsHoweverTheyAreWritten) {
  EXPECT_DOUBLE_EQ(text_score("set_f1", R"(Answer: ["a","b","b"])", "b; c"), 0.5);
  EXPECT_EQ(text_score("set_f1", "b\na", R"(["a", "b"])"), 1);
  EXPECT_EQ(text_score("set_f1", R"([["x","PER"],["y","LOC"]])", R"([["y","LOC"],["x","PER"]])"),
            1);
}

TEST(Scorers, ALongTextDoesNotOverflowAPattern) {
  EXPECT_EQ(text_score("numeric", std::string(5'000'000, '7'), "7", {}, "(7|8)*9"), 0);
}

TEST(Scorers, APatternChoosesWhatIsCompared) {
  const std::string pattern = "answer is ([A-Z])";
  EXPECT_EQ(text_score("exact_match", "The answer is B.", "B", {}, pattern), 1);
  EXPECT_EQ(text_score("exact_match", "The answer is C.", "B", {}, pattern), 0);
  EXPECT_EQ(text_score("exact_match", "B", "B", {}, pattern), 0);
  EXPECT_EQ(text_score("exact_match", "nothing", "", {}, pattern), 0);
  EXPECT_THAT(Scorer::make("gold_nll", {}, pattern).error().text(), HasSubstr("/pattern"));
}

// Expected values: sentence scores of sacrebleu 2.6.0, BLEU(effective_order=True) and CHRF().
TEST(Scorers, GradeTranslationsAsSacrebleuDoes) {
  const struct {
    const char* text;
    const char* answer;
    double bleu;
    double chrf;
  } examples[] = {
      {"the cat sat on the mat", "the cat sat on the mat", 1, 1},
      {"The cat is on the mat.", "There is a cat on the mat.", 0.39442436483275556,
       0.5114202804487414},
      {"the the the the", "the cat", 0.1597357760615681, 0.17868921870125237},
      {"no match here", "entirely different words", 0, 0.07760872932322417},
      {"", "something", 0, 0},
      {"a", "a", 1, 1},
      {"It costs $3,000.50, doesn't it?", "It costs $3,000.5, does it not?", 0.21573652645054953,
       0.6707831546790703},
      {"Caf\u00e9 au lait -- tr\u00e8s bon!", "Un caf\u00e9 au lait, tr\u00e8s bon.",
       0.1610230726602675, 0.5887247775501528},
      {"x = 10-12 (see [1])", "x = 10-12, see [2]", 0.4172261448611506, 0.5097760739243282},
      {"yes", "no way", 0, 0.07246376811594203}};
  for (const auto& example : examples) {
    EXPECT_NEAR(text_score("bleu", example.text, example.answer), example.bleu, 1e-12)
        << example.text;
    EXPECT_NEAR(text_score("chrf", example.text, example.answer), example.chrf, 1e-12)
        << example.text;
  }
}

TEST(Scorers, LikelihoodsAreMeansPerToken) {
  const auto nll = Scorer::make("gold_nll", {}, "");
  ASSERT_TRUE(nll);
  EXPECT_EQ(nll->goal(), Goal::minimize);
  EXPECT_TRUE(nll->needs().gold && nll->needs().scored_text());
  Replies replies;
  replies.gold = scored({-1, -2, -3});
  const Score score = nll->score({"Q", "A"}, replies);
  EXPECT_DOUBLE_EQ(score.value, 2);
  EXPECT_DOUBLE_EQ(score.weight, 3);
}

TEST(Scorers, ChoicesAreNormalisedAsAsked) {
  // The long one is likelier per character, the first as it is, the last against its own odds.
  const Example example{"Q", "aaaa", {"b", "aaaa", "c"}, 1};
  Replies replies;
  replies.choices = {scored({-1}), scored({-1.5}), scored({-3})};
  replies.bare_choices = {scored({-1}), scored({-1.5}), scored({-9})};
  const auto value = [&](const std::vector<std::string>& normalise, std::size_t gold) {
    Example asked = example;
    asked.gold_choice = gold;
    return Scorer::make("choice_loglik", normalise, "")->score(asked, replies).value;
  };
  EXPECT_EQ(value({}, 0), 1);
  EXPECT_EQ(value({"chars"}, 1), 1);
  EXPECT_EQ(value({"bytes"}, 1), 1);
  EXPECT_EQ(value({"mutual"}, 2), 1);
  EXPECT_EQ(value({"none"}, 1), 0);
}

TEST(Scorers, TheFirstLetterDecidesAmongAlternatives) {
  const auto scorer = Scorer::make("choice_first_token", {}, "");
  const Example example{"Q", " B", {" A", " B"}, 1};
  Replies replies;
  replies.generation.emplace();
  replies.generation->first = {{"The", -0.1}, {" A", -3}, {" B", -2}};
  EXPECT_EQ(scorer->score(example, replies).value, 1);
  replies.generation->first = {{"The", -0.1}};
  EXPECT_EQ(scorer->score(example, replies).value, 0);
}

TEST(Scorers, UnknownNamesAreRefusedWithTheKnownOnes) {
  EXPECT_THAT(Scorer::make("rouge", {}, "").error().text(), HasSubstr("exact_match"));
  EXPECT_THAT(Scorer::make("exact_match", {"upper"}, "").error().text(), HasSubstr("lower"));
  EXPECT_THAT(Scorer::make("choice_loglik", {"lower"}, "").error().text(), HasSubstr("mutual"));
  EXPECT_FALSE(Scorer::make("numeric", {}, "("));
}

class Datasets : public ::testing::Test {
 protected:
  std::string file(const std::string& text) {
    const std::string path =
        std::string(scratch_.path()) + "/" + std::to_string(++count_) + ".jsonl";
    std::ofstream(path) << text;
    return path;
  }
  test::ScratchDirectory scratch_;
  int count_ = 0;
};

TEST_F(Datasets, FillTemplates) {
  Templates templates;
  templates.prompt = "{{q}} {question} ({n}):";
  templates.answer = " {answer}";
  const auto read = read_examples(
      file("{\"question\":\"Why?\",\"n\":3,\"answer\":\"so\",\"choices\":[\"no\",\"so\"]}\n\n"),
      templates);
  ASSERT_TRUE(read) << read.error().text();
  ASSERT_EQ(read->size(), 1U);
  EXPECT_EQ((*read)[0].prompt, "{q} Why? (3):");
  EXPECT_EQ((*read)[0].answer, " so");
  EXPECT_THAT((*read)[0].choices, ElementsAre(" no", " so"));
  EXPECT_EQ((*read)[0].gold_choice, 1U);
}

TEST_F(Datasets, NameFileAndLineOfWhatIsWrong) {
  const auto problem = [&](const std::string& text) {
    return read_examples(file(text), {}).error().message;
  };
  const std::string good = "{\"prompt\":\"a\",\"answer\":\"b\"}\n";
  EXPECT_THAT(problem(good + "{\"prompt\":\"a\"}\n"),
              HasSubstr("line 2: there is no field \"answer\""));
  EXPECT_THAT(problem("[1]\n"), HasSubstr("line 1"));
  EXPECT_THAT(problem(good + "{\n"), HasSubstr("line 2"));
  EXPECT_THAT(problem("{\"prompt\":\"a\",\"answer\":\"b\",\"choices\":[\"x\",\"y\"]}\n"),
              HasSubstr("not among the choices"));
  EXPECT_THAT(problem("\n"), HasSubstr("no examples"));
  EXPECT_THAT(read_examples("/nowhere/x.jsonl", {}).error().message, HasSubstr("/nowhere/x.jsonl"));
}

TEST_F(Datasets, SplitsAreDisjoint) {
  const std::vector<Example> one{{"p", "a"}};
  const std::vector<Example> two{{"q", "a"}, {"q", "b"}};
  EXPECT_TRUE(check_disjoint({one, two, {}}));
  const auto shared = check_disjoint({one, two, one});
  ASSERT_FALSE(shared);
  EXPECT_THAT(shared.error().message, HasSubstr("search and report"));
}

// ---- candidates
// ----------------------------------------------------------------------------------

LlmConfig with_adapters(bool factor_space, bool alpha) {
  LlmConfig config;
  config.server.api = "lorax";
  config.merge.adapters = {{"a", "a", ""}, {"b", "b", ""}};
  config.merge.factor_space = factor_space;
  config.merge.alpha = alpha;
  return config;
}

TEST(Genomes, DeclareAlphaBeforeBetaInTheOrderOfTheAdapters) {
  std::vector<std::string> names;
  for (const Parameter& parameter : space_of(with_adapters(true, true)))
    names.push_back(parameter.name);
  EXPECT_THAT(names, ElementsAre("alpha.a", "alpha.b", "beta.a", "beta.b"));
}

TEST(Genomes, OfOneEffectAreOne) {
  const LlmConfig factor = with_adapters(true, true);
  const json plus{{"alpha.a", 0.5}, {"alpha.b", 0.25}, {"beta.a", 0.75}, {"beta.b", 0}};
  json minus = plus;
  minus["beta.a"] = -0.75;
  minus["beta.b"] = -0.0;
  minus["alpha.b"] = 1;  // of no effect where beta is 0
  const auto identity = [](const LlmConfig& config, const json& candidate) {
    return identity_of(config, *genome_of(config, candidate), "s");
  };
  EXPECT_EQ(identity(factor, plus), identity(factor, minus));
  const LlmConfig delta = with_adapters(false, true);
  EXPECT_NE(identity(delta, plus), identity(delta, minus));
  EXPECT_TRUE(genome_of(factor, json{{"alpha.a", 0}, {"alpha.b", 1}, {"beta.a", 1}, {"beta.b", 0}})
                  ->base());
}

TEST(Genomes, ChooseTheNearestCopyAndNameAllOfThem) {
  LlmConfig config = with_adapters(false, true);
  config.server.api = "llama_cpp";
  config.merge.adapters[0].copies = {{1, "0"}, {0.25, "1"}, {0, "0"}};
  config.merge.adapters[1].copies = {{1, "2"}, {0.5, "3"}};
  const auto genome = genome_of(
      config, json{{"alpha.a", 0.3}, {"alpha.b", 0.9}, {"beta.a", -0.5}, {"beta.b", 0.25}});
  ASSERT_TRUE(genome);
  EXPECT_EQ(genome->alpha[0], 0.25);
  const Selection selection = selection_of(config, *genome);
  ASSERT_EQ(selection.weights.size(), 5U);
  EXPECT_EQ(selection.weights[0].second, 0);
  EXPECT_EQ(selection.weights[1], (std::pair<std::string, float>("1", -0.5F)));
  EXPECT_EQ(selection.weights[3], (std::pair<std::string, float>("2", 0.25F)));
}

TEST(Genomes, RefuseWhatIsNoCandidate) {
  const LlmConfig config = with_adapters(true, false);
  EXPECT_THAT(genome_of(config, json{{"beta.a", 1}}).error().text(),
              HasSubstr("/candidate/beta.b"));
  EXPECT_FALSE(genome_of(config, json{{"beta.a", 1}, {"beta.b", "x"}}));
  EXPECT_FALSE(genome_of(config, json::array()));
}

}  // namespace
}  // namespace paretod::llm
