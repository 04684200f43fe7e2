// What is said to inference servers and what is made of their answers, on bodies as they send them
// and on bodies that nobody should send.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "adapters/llm/dialect.hpp"
#include "adapters/llm/refusal.hpp"
#include "adapters/llm/request_template.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;
using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Prompt asking(const std::string& text) {
  Prompt prompt;
  prompt.text = text;
  return prompt;
}

TEST(LlamaCppDialect, NamesEveryAdapterAndForbidsTheCache) {
  const auto dialect = llama_cpp_dialect();
  Selection selection;
  selection.weights = {{"0", 0.4F}, {"1", 0.0F}, {"2", -0.5F}};
  const WireRequest request = dialect->generate(asking("Q"), {}, selection, 3);
  EXPECT_EQ(request.path, "/completion");
  EXPECT_EQ(request.body["lora"].size(), 3U);
  EXPECT_EQ(request.body["lora"][1], (json{{"id", 1}, {"scale", 0.0}}));
  EXPECT_EQ(request.body["lora"][2]["scale"], -0.5);
  EXPECT_EQ(request.body["cache_prompt"], false);
  EXPECT_EQ(request.body["temperature"], 0);
  EXPECT_EQ(request.body["n_probs"], 3);
}

TEST(LlamaCppDialect, ReadsOneTokenFromItsAlternatives) {
  const auto dialect = llama_cpp_dialect();
  const json reply = json::parse(R"({"content":" Paris","stop_type":"limit","tokens_evaluated":5,
    "timings":{"cache_n":0,"prompt_n":5,"predicted_n":1},
    "completion_probabilities":[{"id":7,"token":" Paris","bytes":[],"logprob":-0.2,
      "top_logprobs":[{"id":7,"token":" Paris","logprob":-0.2},{"id":9,"token":" Rome","logprob":-2.5}]}]})");
  const auto second = dialect->read_token_score(FlatJson(reply).root(), 9);
  ASSERT_TRUE(second) << second.error().text();
  EXPECT_THAT(second->logprobs, ElementsAre(-2.5));
  EXPECT_FALSE(second->greedy);
  EXPECT_EQ(second->usage.prompt_tokens, 5U);
  EXPECT_TRUE(dialect->read_token_score(FlatJson(reply).root(), 7)->greedy);
  // Beyond the alternatives: at most what they leave, and no more than the last of them.
  const auto beyond = dialect->read_token_score(FlatJson(reply).root(), 1000);
  ASSERT_TRUE(beyond);
  EXPECT_TRUE(beyond->beyond);
  const double left = std::log(1 - std::exp(-0.2) - std::exp(-2.5));
  EXPECT_THAT(beyond->logprobs, ElementsAre(DoubleEq(std::min(left, -2.5))));
}

TEST(LlamaCppDialect, RejectsAnswersFromACacheThatWasForbidden) {
  const json reply = json::parse(R"({"content":"x","timings":{"cache_n":4,"predicted_n":1}})");
  const auto read = llama_cpp_dialect()->read_generation(FlatJson(reply).root());
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("--cache-ram 0"));
}

TEST(LoraxDialect, SendsALoneAdapterTwiceAndNoneForTheBase) {
  const auto dialect = lorax_dialect();
  Selection selection;
  selection.weights = {{"a", 0.8F}};
  const json lone = dialect->generate(asking("Q"), {}, selection, 0).body["parameters"];
  EXPECT_EQ(lone["merged_adapters"]["ids"], (json{"a", "a"}));
  EXPECT_EQ(lone["merged_adapters"]["weights"], (json{0.4F, 0.4F}));
  EXPECT_EQ(lone["details"], true);
  EXPECT_FALSE(lone.contains("adapter_id"));
  selection.weights = {{"a", 0.0F}, {"b", 0.0F}};
  EXPECT_FALSE(dialect->generate(asking("Q"), {}, selection, 0)
                   .body["parameters"]
                   .contains("merged_adapters"));
}

TEST(LoraxDialect, ScoresTheEndOfAPrefill) {
  const json reply = json::parse(R"({"generated_text":"!","details":{"finish_reason":"length",
    "prompt_tokens":4,"generated_tokens":1,"seed":1,"tokens":[],
    "prefill":[{"id":1,"text":"<s>","logprob":null},{"id":2,"text":"Capital:","logprob":-5.0},
               {"id":3,"text":" Par","logprob":-1.0},{"id":4,"text":"is","logprob":-0.5}]}})");
  const auto read = lorax_dialect()->read_score(FlatJson(reply).root(), " Paris", true);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_THAT(read->logprobs, ElementsAre(-1.0, -0.5));
  EXPECT_EQ(read->usage.prompt_tokens, 4U);
  // A token across the border counts as a whole; without a context all but the first count.
  EXPECT_THAT(lorax_dialect()->read_score(FlatJson(reply).root(), "aris", true)->logprobs,
              ElementsAre(-1.0, -0.5));
  EXPECT_EQ(
      lorax_dialect()->read_score(FlatJson(reply).root(), "Capital: Paris", false)->logprobs.size(),
      3U);
  EXPECT_FALSE(lorax_dialect()->read_score(FlatJson(reply).root(), std::string(100, 'x'), true));
}

TEST(VllmDialect, NamesTheMergedAdapterAndReadsTheEcho) {
  const auto dialect = vllm_dialect();
  Selection selection;
  selection.model = "cand-1";
  selection.salt = "abc";
  const WireRequest request = dialect->score("Q:", " yes", selection);
  EXPECT_EQ(request.body, (json{{"model", "cand-1"},
                                {"cache_salt", "abc"},
                                {"prompt", "Q: yes"},
                                {"echo", true},
                                {"max_tokens", 0},
                                {"temperature", 0},
                                {"logprobs", 1}}));
  const json reply =
      json::parse(R"({"choices":[{"text":"Q: yes","finish_reason":"length","logprobs":{
    "tokens":["Q:"," yes"],"token_logprobs":[null,-0.25],"top_logprobs":[null,{" yes":-0.25}],
    "text_offset":[0,2]}}],"usage":{"prompt_tokens":2,"completion_tokens":0,"total_tokens":2}})");
  EXPECT_THAT(dialect->read_score(FlatJson(reply).root(), " yes", true)->logprobs,
              ElementsAre(-0.25));
  EXPECT_EQ(dialect->load_route(), "/v1/load_lora_adapter");
}

TEST(SglangDialect, SetsEveryFieldAndReadsTriples) {
  const auto dialect = sglang_dialect();
  EXPECT_EQ(dialect->generate(asking("Q"), {}, {}, 0).body["lora_path"], nullptr);
  const json reply =
      json::parse(R"({"text":"x","meta_info":{"prompt_tokens":2,"completion_tokens":1,
    "cached_tokens":0,"finish_reason":{"type":"length"},
    "input_token_logprobs":[[null,1,"Q:"],[-0.5,2," yes"]]}})");
  EXPECT_THAT(dialect->read_score(FlatJson(reply).root(), " yes", true)->logprobs,
              ElementsAre(-0.5));
}

TEST(OpenAiDialect, SpeaksChatAndSurvivesEmptyContent) {
  const auto dialect = openai_dialect();
  Prompt prompt = asking("Q");
  prompt.system = "Be brief.";
  prompt.shots = {{"1+1", "2"}};
  Selection selection;
  selection.model = "m";
  const json body = dialect->generate(prompt, {}, selection, 50).body;
  EXPECT_EQ(body["messages"].size(), 4U);
  EXPECT_EQ(body["messages"][2], (json{{"role", "assistant"}, {"content", "2"}}));
  EXPECT_EQ(body["top_logprobs"], 20);
  const json reply =
      json::parse(R"({"choices":[{"message":{"content":null},"finish_reason":"length",
    "logprobs":{"content":[{"token":"A","logprob":-0.1,"top_logprobs":[{"token":"A","logprob":-0.1},
      {"token":"B","logprob":-9999.0}]}]}}],"system_fingerprint":"fp",
    "usage":{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}})");
  const auto read = dialect->read_generation(FlatJson(reply).root());
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->text, "");
  EXPECT_EQ(read->usage.cached_tokens, 4U);
  EXPECT_EQ(read->first.size(), 1U);  // -9999 stands for "not among them"
  EXPECT_EQ(read->fingerprint, "fp");
}

TEST(Dialects, SayWhatIsWrongWithRepliesOfAnyShape) {
  const char* bodies[] = {
      "null",
      "[]",
      "{}",
      "3",
      R"("text")",
      R"({"content":3,"generated_text":3,"choices":[],"text":[]})",
      R"({"choices":[{"text":"x","message":{"content":"x"},"logprobs":{"tokens":["a"],"token_logprobs":[]}}],
          "usage":{"prompt_tokens":-1}})",
      R"({"content":"x","completion_probabilities":[{"top_logprobs":[{"id":1,"logprob":"low"}]}]})",
      R"({"content":"x","completion_probabilities":{"0":{}},"timings":[1]})",
      R"({"generated_text":"x","details":{"finish_reason":3,"prompt_tokens":1.5}})",
      R"({"generated_text":"x","details":{"finish_reason":"length","prompt_tokens":1,"generated_tokens":1,
          "prefill":[3,null,{"text":null,"logprob":1e400}]}})",
      R"({"text":"x","meta_info":{"prompt_tokens":1,"completion_tokens":1,"input_token_logprobs":[[],3]}})"};
  for (const char* api : {"llama_cpp", "lorax", "vllm", "sglang", "openai"}) {
    const auto dialect = make_dialect(api);
    for (const char* text : bodies) {
      const json body = json::parse(text, nullptr, false);
      // Whatever they find, they say so; nothing throws, and no number is made up.
      const auto generation = dialect->read_generation(FlatJson(body).root());
      EXPECT_TRUE(generation || !generation.error().message.empty());
      if (dialect->scores_text() == ScoresText::whole) {
        EXPECT_FALSE(dialect->read_score(FlatJson(body).root(), " yes", true))
            << api << " " << text;
      } else if (dialect->scores_text() == ScoresText::per_token) {
        EXPECT_FALSE(dialect->read_token_score(FlatJson(body).root(), 1)) << text;
        EXPECT_FALSE(dialect->read_tokens(FlatJson(body).root())) << text;
      }
    }
  }
}

TEST(RequestTemplates, GiveTheBytesOfTheFilledRequest) {
  Selection selection;
  selection.model = "m";
  selection.weights = {{"0", 0.4F}, {"1", -1.0F / 3}};
  Sampling sampling;
  sampling.stop = {"\n"};
  const std::string texts[] = {"", "plain", "\"quoted\" \\ and\n\r\tlines",
                               "\x01\x7f caf\u00e9 \u4e2d"};
  for (const char* api : {"llama_cpp", "lorax", "vllm", "sglang", "openai"}) {
    const auto dialect = make_dialect(api);
    const auto generation = [&](std::string_view text) {
      Prompt prompt = asking(std::string(text));
      prompt.system = "Be brief.";
      prompt.shots = {{"1+1", "2"}};
      return dialect->generate(prompt, sampling, selection, 5);
    };
    const RequestTemplate made(generation(text_slot));
    for (const std::string& text : texts) {
      EXPECT_EQ(made.body(text), generation(text).body.dump()) << api;
      EXPECT_EQ(made.path(), generation(text).path);
    }
    if (dialect->scores_text() == ScoresText::whole) {
      const RequestTemplate score(dialect->score("", std::string(text_slot), selection));
      EXPECT_EQ(score.body("Q: yes"), dialect->score("Q:", " yes", selection).body.dump()) << api;
    }
  }
  const auto llama = llama_cpp_dialect();
  const RequestTemplate tokens(llama->score_token(token_slot, selection, 5));
  EXPECT_EQ(tokens.body({1, 22, 333}, 2), llama->score_token({1, 22}, selection, 5).body.dump());
}

TEST(RequestTemplates, NeedTheirSlotOnce) {
  EXPECT_THROW(RequestTemplate({"/x", json{{"prompt", "none"}}}), std::logic_error);
  const std::string twice = std::string(text_slot) + std::string(text_slot);
  EXPECT_THROW(RequestTemplate({"/x", json{{"prompt", twice}}}), std::logic_error);
}

TEST(Completions, AreTheSameAfterTheLedger) {
  Completion completion;
  completion.text = "a\nb";
  completion.finish = "stop";
  completion.usage = {1, 2, 3};
  completion.logprobs = {-0.1, -2.0 / 3};
  completion.first = {{"A", -0.5}};
  completion.greedy = true;
  completion.beyond = true;
  const auto again = completion_from_json(FlatJson(json::parse(json_text(completion))).root());
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(again->text, completion.text);
  EXPECT_EQ(again->finish, "stop");
  EXPECT_EQ(again->usage.cached_tokens, 3U);
  EXPECT_EQ(again->logprobs, completion.logprobs);
  EXPECT_EQ(again->first, completion.first);
  EXPECT_TRUE(again->greedy && again->beyond);
  EXPECT_EQ(json_text(*again), json_text(completion));
  completion.fingerprint = "fp \"1\"";
  completion.logprobs.clear();
  completion.first.clear();
  EXPECT_EQ(json_text(completion), R"({"cached_tokens":3,"fingerprint":"fp \"1\"","finish":"stop",)"
                                   R"("output_tokens":2,"prompt_tokens":1,"text":"a\nb"})");
  EXPECT_FALSE(completion_from_json(FlatJson(json::parse(R"({"text":"x"})")).root()));
}

// ---- refusals
// ------------------------------------------------------------------------------------

HttpReply reply_with(int status, const std::string& body,
                     std::vector<std::pair<std::string, std::string>> headers = {}) {
  HttpReply reply;
  reply.status = status;
  reply.body = body;
  reply.headers = std::move(headers);
  return reply;
}

TEST(Refusals, AreToldApart) {
  EXPECT_EQ(refusal_of(reply_with(429, R"({"error":{"code":"rate_limit_exceeded"}})")).kind,
            RefusalKind::throttled);
  EXPECT_EQ(refusal_of(reply_with(429, R"({"error":{"code":"insufficient_quota"}})")).kind,
            RefusalKind::quota);
  EXPECT_EQ(refusal_of(reply_with(529, "")).kind, RefusalKind::overloaded);
  EXPECT_EQ(refusal_of(reply_with(503, R"({"error":{"type":"unavailable_error"}})")).kind,
            RefusalKind::overloaded);
  for (const int status : {408, 409, 500, 502}) {
    EXPECT_EQ(refusal_of(reply_with(status, "")).kind, RefusalKind::broken) << status;
  }
  for (const int status : {301, 400, 401, 403, 404, 422, 424}) {
    EXPECT_EQ(refusal_of(reply_with(status, "")).kind, RefusalKind::refused) << status;
  }
  EXPECT_EQ(refusal_of(reply_with(400, "", {{"x-should-retry", "true"}})).kind,
            RefusalKind::broken);
  EXPECT_EQ(refusal_of(reply_with(500, "", {{"x-should-retry", "false"}})).kind,
            RefusalKind::refused);
}

TEST(Refusals, SayTheServersReasonInEveryEnvelope) {
  for (const char* body :
       {R"({"error":{"message":"too long","type":"t"}})",
        R"({"error":"too long","error_type":"t"})", R"({"object":"error","message":"too long"})",
        R"({"detail":"too long"})", "too long"}) {
    EXPECT_THAT(refusal_of(reply_with(400, body)).message, HasSubstr("too long")) << body;
  }
  const Refusal hostile = refusal_of(reply_with(400, std::string(100'000, '\x1b')));
  EXPECT_LT(hostile.message.size(), 600U);
  EXPECT_EQ(hostile.message.find('\x1b'), std::string::npos);
}

TEST(Refusals, ReadHowLongToWait) {
  const auto wait = [](const char* name, const char* value) {
    return refusal_of(reply_with(429, "", {{name, value}})).retry_after_s;
  };
  EXPECT_EQ(wait("retry-after-ms", "1500"), 1.5);
  EXPECT_EQ(wait("retry-after", "2.5"), 2.5);
  EXPECT_EQ(wait("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  for (const char* bad : {"soon", "-3", "nan", "inf", ""}) {
    EXPECT_FALSE(wait("retry-after", bad)) << bad;
    EXPECT_FALSE(wait("retry-after-ms", bad)) << bad;
  }
}

}  // namespace
}  // namespace paretod::llm
