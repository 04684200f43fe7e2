#include "evaluators/process/protocol.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "evaluators/process/text.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string hello_refusal(std::string_view line) {
  const auto hello = parse_hello(line);
  return hello ? "accepted" : hello.error().text();
}

TEST(Protocol, ReadsAFullHello) {
  const auto hello = parse_hello(
      R"({"paretod":1,"type":"hello","evaluator":"digits","slots":2,"paid":true,"resumable":true,
          "objectives":[{"name":"fd","goal":"minimize"}],"metrics":["mmd"],
          "space":[{"name":"alpha","type":"affine","size":3}],
          "fidelity":{"unit":"images","default":1000},"version":"7b, commit 12ab",
          "currency":"EUR","worst_case":{"seconds":60,"tokens":4000,"money_micros":9000},
          "params":{"steps":{"type":"integer","default":10,"minimum":1}}})");
  ASSERT_TRUE(hello.ok()) << hello.error().text();
  const EvaluatorDescription& d = hello->description;
  EXPECT_EQ(d.summary, "digits");
  EXPECT_EQ(d.slots, 2U);
  EXPECT_TRUE(d.paid);
  EXPECT_TRUE(d.resumable);
  EXPECT_EQ(d.version, "7b, commit 12ab");
  EXPECT_EQ(d.currency, "EUR");
  EXPECT_EQ(d.worst_case, (Spend{60, 4000, 9000}));
  EXPECT_EQ(d.objectives.at(0).name, "fd");
  EXPECT_EQ(d.space.value().at(0).size, 3U);
  EXPECT_EQ(d.fidelity_unit, "images");
  EXPECT_EQ(d.default_fidelity, 1000U);
  EXPECT_EQ(d.params.at(0).default_value, ParamValue(std::int64_t{10}));
}

TEST(Protocol, AMinimalHelloTakesTheJobsSpace) {
  const auto hello = parse_hello(R"({"paretod":1,"type":"hello"})");
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(hello->description.slots, 1U);
  EXPECT_FALSE(hello->description.space.has_value());
  EXPECT_TRUE(hello->description.objectives.empty());
}

TEST(Protocol, HelloProblemsArePointedAt) {
  EXPECT_THAT(hello_refusal(R"({"type":"hello"})"), HasSubstr("/paretod: is required"));
  EXPECT_THAT(hello_refusal(R"({"paretod":2,"type":"hello"})"), HasSubstr("/paretod: has to be 1"));
  EXPECT_THAT(hello_refusal(R"({"paretod":1,"type":"result"})"), HasSubstr("/type: "));
  const std::string text = hello_refusal(
      R"({"paretod":1,"type":"hello","slots":0,"slot":1,"objectives":[{"goal":"minimize"}],
          "space":[{"name":"x","type":"real","low":2,"high":1}],"fidelity":{"default":-1},
          "params":{"a":{"type":"integer","default":"x"}}})");
  EXPECT_THAT(text, HasSubstr("/slots: "));
  EXPECT_THAT(text, HasSubstr("/slot: there is no such field"));
  EXPECT_THAT(text, HasSubstr("/objectives/0/name: is required"));
  EXPECT_THAT(text, HasSubstr("/space/0/low: "));
  EXPECT_THAT(text, HasSubstr("/fidelity/default: "));
  EXPECT_THAT(text, HasSubstr("/params/a/default: "));
  EXPECT_THAT(hello_refusal("Loading..."), HasSubstr("not valid JSON"));
}

TEST(Protocol, PricesArePointedAt) {
  const auto refusal = [](const std::string& fields) {
    return hello_refusal(R"({"paretod":1,"type":"hello",)" + fields + "}");
  };
  EXPECT_THAT(refusal(R"("version":"a\u0007b")"), HasSubstr("/version: has to be printable"));
  EXPECT_THAT(refusal(R"("version":7)"), HasSubstr("/version: "));
  EXPECT_THAT(refusal(R"("paid":true,"currency":"dollars")"),
              HasSubstr("/currency: has to be three capital letters"));
  EXPECT_THAT(refusal(R"("currency":"USD")"), HasSubstr("/currency: says what is paid in"));
  EXPECT_THAT(refusal(R"("paid":true,"worst_case":{"money_micros":1})"),
              HasSubstr("/worst_case/money_micros: needs the \"currency\""));
  const std::string text =
      refusal(R"("worst_case":{"seconds":-1,"tokens":0.5,"money_micros":-1,"dollars":3})");
  for (const char* field : {"seconds", "tokens", "money_micros", "dollars"}) {
    EXPECT_THAT(text, HasSubstr("/worst_case/" + std::string(field) + ": "));
  }
}

TEST(Protocol, WritesARequest) {
  auto context = std::make_shared<EvaluationContext>();
  context->job = "j1";
  context->seed = 18446744073709551615U;
  Parameter x;
  x.name = "x";
  context->space = SearchSpace::make({x}).value();
  context->params = {{"steps", std::int64_t{20}}};
  EvaluatorDescription declared;
  declared.default_fidelity = 1000;
  declared.params = {{"steps", "", std::int64_t{10}}, {"mode", "", std::string("fast")}};
  EvaluationRequest request{5, context, 17, 2, {{0.5}, 0, 3}, 1.5};
  const std::string line = evaluate_line(request, declared);
  ASSERT_EQ(line.back(), '\n');
  EXPECT_EQ(json::parse(line), json::parse(R"({
      "type":"evaluate","id":"j1:17:2","candidate":{"x":0.5},"fidelity":1000,"replicate":3,
      "seed":18446744073709551615,"params":{"steps":20,"mode":"fast"},"deadline_s":1.5})"));
  request.candidate.fidelity = 50;
  request.deadline_s = 0;
  const json second = json::parse(evaluate_line(request, declared));
  EXPECT_EQ(second["fidelity"], 50);
  EXPECT_FALSE(second.contains("deadline_s"));
  EXPECT_EQ(cancel_line("a:1:1"), "{\"id\":\"a:1:1\",\"type\":\"cancel\"}\n");
}

EvaluationReply reply_to(std::string_view line, const std::vector<Objective>& objectives) {
  const auto message = parse_message(line);
  if (!message) {
    ADD_FAILURE() << message.error().text();
    return {};
  }
  if (const auto* result = std::get_if<ResultMessage>(&*message)) {
    return reply_of(*result, objectives, 2.5);
  }
  if (const auto* progress = std::get_if<ProgressMessage>(&*message)) {
    return reply_of(*progress, objectives);
  }
  return reply_of(std::get<ErrorMessage>(*message), 2.5);
}

TEST(Protocol, ReadsAResultInTheJobsOrder) {
  const EvaluationReply reply = reply_to(
      R"({"type":"result","id":"a:1:1","objectives":{"a":1,"b":{"value":2,"stderr":0.5,"n":9},
          "c":3},"metrics":{"m":4},"cost":{"tokens":12},"new":true})",
      {{"b"}, {"a"}});
  EXPECT_EQ(reply.kind, ReplyKind::done);
  ASSERT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
  ASSERT_EQ(reply.outcome.objectives.size(), 2U);
  EXPECT_EQ(reply.outcome.objectives[0].value, 2);
  EXPECT_EQ(reply.outcome.objectives[0].standard_error, 0.5);
  EXPECT_EQ(reply.outcome.objectives[0].count, 9U);
  EXPECT_EQ(reply.outcome.objectives[1].value, 1);
  EXPECT_FALSE(reply.outcome.objectives[1].has_error());
  EXPECT_EQ(reply.outcome.metrics, (Metrics{{"m", 4}}));
}

TEST(Protocol, ReadsExamplesAndCost) {
  const EvaluationReply reply = reply_to(
      R"({"type":"result","id":"a:1:1","objectives":{"a":1,"b":2},"examples":{"b":[1,0,0.5],
          "other":[7]},"cost":{"seconds":0.25,"tokens":12,"money_micros":9223372036854775807}})",
      {{"a"}, {"b"}});
  ASSERT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
  EXPECT_EQ(reply.outcome.examples, (std::vector<std::vector<float>>{{}, {1, 0, 0.5F}}));
  EXPECT_EQ(reply.outcome.cost, (Spend{0.25, 12, 9223372036854775807}));
  const EvaluationReply plain =
      reply_to(R"({"type":"result","id":"a:1:1","objectives":{"a":1}})", {{"a"}});
  EXPECT_TRUE(plain.outcome.examples.empty());
  EXPECT_EQ(plain.outcome.cost, (Spend{2.5, 0, 0}));  // as measured
}

TEST(Protocol, AFaultyResultIsBilledAllTheSame) {
  const EvaluationReply reply =
      reply_to(R"({"type":"result","id":"a:1:1","objectives":{},"cost":{"tokens":12}})", {{"fd"}});
  EXPECT_EQ(reply.outcome.status, TrialStatus::failed);
  EXPECT_EQ(reply.outcome.cost, (Spend{2.5, 12, 0}));
  const EvaluationReply error = reply_to(
      R"({"type":"error","id":"a:1:1","kind":"transient","message":"x","cost":{"tokens":3}})", {});
  EXPECT_EQ(error.outcome.cost, (Spend{2.5, 3, 0}));
  const EvaluationReply unknown = reply_to(
      R"({"type":"error","id":"a:1:1","kind":"fatal","message":"x","cost":{"tokens":-3}})", {});
  EXPECT_EQ(
      unknown.outcome.reason,
      "x; and its cost is not known: the tokens of \"cost\" have to be a whole number that is "
      "not negative");
}

TEST(Protocol, ReadsProgressInTheJobsOrder) {
  const EvaluationReply reply = reply_to(
      R"({"type":"progress","id":"a:1:1","done":0.4,"partial":{"a":31.2,
          "c":{"value":2,"stderr":0.5,"n":300},"x":1},"examples":{"c":[1,0]}})",
      {{"c"}, {"b"}, {"a"}});
  EXPECT_EQ(reply.kind, ReplyKind::progress);
  EXPECT_EQ(reply.done, 0.4);
  ASSERT_EQ(reply.outcome.objectives.size(), 3U);
  EXPECT_EQ(reply.outcome.objectives[0].value, 2);
  EXPECT_EQ(reply.outcome.objectives[0].standard_error, 0.5);
  EXPECT_EQ(reply.outcome.objectives[0].count, 300U);
  EXPECT_TRUE(std::isnan(reply.outcome.objectives[1].value));
  EXPECT_EQ(reply.outcome.objectives[2].value, 31.2);
  EXPECT_EQ(reply.outcome.examples, (std::vector<std::vector<float>>{{1, 0}, {}, {}}));
  EXPECT_EQ(reply.outcome.reason, "");
}

TEST(Protocol, FaultyProgressLosesOnlyWhatIsFaulty) {
  const EvaluationReply reply = reply_to(
      R"({"type":"progress","id":"a:1:1","done":7,"partial":{"a":NaN,"b":2},"examples":[]})",
      {{"a"}, {"b"}});
  EXPECT_EQ(reply.done, 1);
  EXPECT_TRUE(std::isnan(reply.outcome.objectives.at(0).value));
  EXPECT_EQ(reply.outcome.objectives.at(1).value, 2);
  EXPECT_EQ(reply.outcome.reason, "objective \"a\" has to be a finite number, not NaN");
  const EvaluationReply empty =
      reply_to(R"({"type":"progress","id":"a:1:1","done":"half","partial":3})", {{"a"}});
  EXPECT_TRUE(empty.outcome.objectives.empty());
  EXPECT_EQ(empty.outcome.reason, "\"done\" has to be a number from 0 to 1");
}

TEST(Protocol, AFaultyResultFailsNamingTheField) {
  const auto reason = [](const std::string& fields) {
    const EvaluationReply reply =
        reply_to(R"({"type":"result","id":"a:1:1",)" + fields + "}", {{"fd"}});
    EXPECT_EQ(reply.kind, ReplyKind::done);
    EXPECT_EQ(reply.outcome.status, TrialStatus::failed);
    return reply.outcome.reason;
  };
  std::string many = "1";
  for (int i = 0; i < 4096; ++i) many += ",1";
  EXPECT_THAT(reason(R"("objectives":{})"), HasSubstr("lacks the objective \"fd\""));
  EXPECT_THAT(reason(R"("metrics":{})"), HasSubstr("lacks the objective \"fd\""));
  EXPECT_THAT(reason(R"("objectives":{"fd":NaN})"), HasSubstr("\"fd\" has to be a finite number"));
  EXPECT_THAT(reason(R"("objectives":{"fd":{"value":-Infinity}})"), HasSubstr("not -Infinity"));
  EXPECT_THAT(reason(R"("objectives":{"fd":null})"), HasSubstr("not null"));
  EXPECT_THAT(reason(R"("objectives":{"fd":{"value":1,"stderr":-1}})"), HasSubstr("stderr"));
  EXPECT_THAT(reason(R"("objectives":{"fd":{"value":1,"n":0.5}})"), HasSubstr("the n of"));
  EXPECT_THAT(reason(R"("objectives":{"fd":1},"examples":{"fd":[1,null]})"),
              HasSubstr("the examples of objective \"fd\" have to be finite numbers; number 2"));
  EXPECT_THAT(reason(R"("objectives":{"fd":1},"examples":{"fd":[1e39]})"), HasSubstr("number 1"));
  EXPECT_THAT(reason(R"("objectives":{"fd":1},"examples":{"fd":[)" + many + "]}"),
              HasSubstr("are 4097, and at most 4096"));
  EXPECT_THAT(reason(R"("objectives":{"fd":1},"cost":{"tokens":0.5})"),
              HasSubstr("the tokens of \"cost\""));
  EXPECT_THAT(reason(R"("objectives":{"fd":1},"cost":{"money_micros":-1})"),
              HasSubstr("the money_micros of \"cost\""));
  EXPECT_THAT(reason(R"("objectives":{"fd":1},"cost":{"seconds":-1})"),
              HasSubstr("the seconds of \"cost\""));
  EXPECT_THAT(reason(R"("objectives":[1])"), HasSubstr("\"objectives\" has to be an object"));
  EXPECT_THAT(reason(R"("objectives":{"fd":1},"metrics":{"loss":NaN})"),
              HasSubstr("metric \"loss\" has to be a finite number, not NaN"));
}

TEST(Protocol, WordsLikeNanAreLeftAloneInStrings) {
  const auto message = parse_message(
      R"({"type":"error","id":"a:1:1","kind":"fatal","message":"loss is \"NaN\", Infinity"})");
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(std::get<ErrorMessage>(*message).text, "loss is \"NaN\", Infinity");
  // Quoting happens only where JSON itself failed, and not inside strings.
  const EvaluationReply reply =
      reply_to(R"({"type":"result","id":"NaN \" NaN","objectives":{"NaN":1,"fd":NaN}})", {{"NaN"}});
  EXPECT_THAT(reply.outcome.reason, HasSubstr("\"fd\""));
}

TEST(Protocol, ErrorKindsDecideWhatHappensNext) {
  const auto reply = [](const std::string& kind) {
    return reply_to(R"({"type":"error","id":"a:1:1","message":"why","kind":")" + kind + "\"}", {});
  };
  EXPECT_EQ(reply("infeasible").kind, ReplyKind::done);
  EXPECT_EQ(reply("infeasible").outcome.status, TrialStatus::infeasible);
  EXPECT_EQ(reply("transient").kind, ReplyKind::transient);
  EXPECT_EQ(reply("fatal").kind, ReplyKind::fault);
  EXPECT_EQ(reply("fatal").outcome.status, TrialStatus::failed);
  EXPECT_EQ(reply("fatal").outcome.reason, "why");
}

TEST(Protocol, RefusesLinesThatBelongToNoRequest) {
  for (const char* line :
       {"", "garbage", "[]", "{}", R"({"type":"result"})", R"({"type":"result","id":5})",
        R"({"type":"hello","id":"a"})", R"({"type":"error","id":"a","kind":"sad"})",
        R"({"type":"result","id":"a","id":"b"})"}) {
    EXPECT_FALSE(parse_message(line).ok()) << line;
  }
}

TEST(PrintableText, IsAlwaysValidUtf8WithinItsLength) {
  EXPECT_EQ(printable_text("plain\ttext\n", 100), "plain\ttext\n");
  EXPECT_EQ(printable_text("gr\xc3\xbc\xc3\x9f", 100), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(printable_text("a\x1b[31m\xff\xc0\x80\xed\xa0\x80", 100), "a?[31m??????");
  EXPECT_EQ(printable_text("\xe2\x82", 100), "??");
  EXPECT_EQ(printable_text("abcdefgh", 8), "abcdefgh");
  EXPECT_EQ(printable_text("abcdefghi", 8), "abcde...");
  EXPECT_EQ(printable_text("abcd\xc3\xbcxyz", 8), "abcd...");
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes += static_cast<char>(i * 7919 >> 3);
  for (std::size_t most = 0; most < 300; ++most) {
    const std::string text = printable_text(bytes, most);
    EXPECT_LE(text.size(), most);
    EXPECT_NO_THROW((void)json(text).dump());
  }
}

TEST(LineBuffer, CutsLinesHoweverTheyArrive) {
  const std::string stream = "one\ntwo\r\n\nthree\n";
  for (std::size_t chunk = 1; chunk <= stream.size(); ++chunk) {
    LineBuffer buffer(10);
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < stream.size(); i += chunk) {
      buffer.append(std::string_view(stream).substr(i, chunk));
      while (const auto line = buffer.next()) lines.emplace_back(*line);
    }
    EXPECT_THAT(lines, ::testing::ElementsAre("one", "two", "", "three"));
    EXPECT_EQ(buffer.rest(), "");
    EXPECT_FALSE(buffer.too_long());
  }
}

TEST(LineBuffer, NoticesLinesThatAreTooLong) {
  LineBuffer open(4);
  open.append("12345");
  EXPECT_FALSE(open.next());
  EXPECT_TRUE(open.too_long());
  LineBuffer closed(4);
  closed.append("1234\n12345\n");
  EXPECT_EQ(closed.next(), "1234");
  EXPECT_FALSE(closed.next());
  EXPECT_TRUE(closed.too_long());
}

TEST(TailBuffer, KeepsTheLastBytesAndLines) {
  TailBuffer tail(100);
  EXPECT_EQ(tail.last_lines(), "");
  for (int i = 0; i < 1000; ++i) tail.append("line " + std::to_string(i) + "\n");
  EXPECT_EQ(tail.bytes().size(), 100U);
  EXPECT_TRUE(tail.bytes().ends_with("line 999\n"));
  EXPECT_TRUE(tail.last_lines().ends_with("line 998\nline 999"));
  TailBuffer long_tail(100'000);
  for (int i = 0; i < 1000; ++i) long_tail.append("line " + std::to_string(i) + "\n");
  EXPECT_TRUE(long_tail.last_lines().starts_with("line 980\n")) << long_tail.last_lines();
}

}  // namespace
}  // namespace paretod
