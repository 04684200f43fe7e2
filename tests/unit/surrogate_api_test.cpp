// The surrogate over REST: what it shows, the front that it predicts, and having it measured.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>
#include <set>

#include "daemon/rest/api.hpp"
#include "optimizers/registry.hpp"
#include "tests/support/job_harness.hpp"
#include "tests/support/line_surrogate.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// cost = gain = x.
EvaluationReply on_the_line(const EvaluationRequest& request) {
  EvaluationReply reply;
  const double x = request.candidate.point[0];
  reply.outcome.objectives = {{x, 0.01, 50}, {x}};
  return reply;
}

std::string job_text(const std::string& optimizer, std::size_t trials) {
  return R"({"name":"line","optimizer":")" + optimizer + R"(","evaluator":"test","seed":1,)" +
         R"("space":[{"name":"x","type":"real","low":0,"high":1}],)"
         R"("objectives":[{"name":"cost"},{"name":"gain","goal":"maximize"}],"budget":{"trials":)" +
         std::to_string(trials) + "}}";
}

class World {
 public:
  World() {
    auto owned = std::make_unique<FunctionEvaluator>(on_the_line, 2);
    evaluator = owned.get();
    auto optimizers = builtin_optimizers();
    optimizers.push_back(test::line_optimizer());
    std::vector<std::pair<std::string, std::unique_ptr<Evaluator>>> evaluators;
    evaluators.emplace_back("test", std::move(owned));
    catalog_ = std::move(Catalog::make(std::move(optimizers), std::move(evaluators)).value());
    manager = std::make_unique<JobManager>(backend_, *catalog_, ManagerOptions{});
    api = std::make_unique<Api>(*manager, ApiOptions{});
  }

  HttpResponse send(const std::string& method, const std::string& target, const std::string& body,
                    const NameValues& headers = {}) const {
    HttpRequest request;
    request.method = method;
    request.headers = headers;
    request.body = body;
    EXPECT_TRUE(parse_target(target, request)) << target;
    HttpResponse response = api->handle(request);
    if (!response.deferred) return response;
    std::promise<void> there;
    response.deferred->attach([&] { there.set_value(); });
    there.get_future().wait();
    return *response.deferred->take();
  }
  HttpResponse get(const std::string& target, const NameValues& headers = {}) const {
    return send("GET", target, "", headers);
  }
  json get_json(const std::string& target) const {
    const HttpResponse response = get(target);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  }
  HttpResponse post(const std::string& target, const std::string& body,
                    const NameValues& headers = {}) const {
    return send("POST", target, body, headers);
  }
  /// "/v1/jobs/ID" of a job that has ended.
  std::string finished(const std::string& spec) const {
    const std::string id = json::parse(post("/v1/jobs", spec).body)["id"];
    manager->find(id)->wait([](JobStatus) { return false; });
    return "/v1/jobs/" + id;
  }
  std::shared_ptr<Job> job(const std::string& path) const {
    return manager->find(path.substr(std::string("/v1/jobs/").size()));
  }

 private:
  MemoryBackend backend_;
  std::unique_ptr<Catalog> catalog_;

 public:
  FunctionEvaluator* evaluator = nullptr;
  std::unique_ptr<JobManager> manager;
  std::unique_ptr<Api> api;
};

std::string header(const HttpResponse& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

std::set<std::string> pointers(const HttpResponse& response) {
  std::set<std::string> found;
  const json document = json::parse(response.body);
  for (const json& problem : document.value("problems", json::array())) {
    found.insert(problem["pointer"].get<std::string>());
  }
  return found;
}

TEST(SurrogateApi, ShowsEverythingThatIsKnownOfIt) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  const json shown = world.get_json(path + "/surrogate");
  EXPECT_EQ(shown["source"], "predicted");
  EXPECT_EQ(shown["trials"], 5);
  EXPECT_EQ(shown["observations"], 5);
  EXPECT_EQ(shown["verdict"], "trade-off");
  EXPECT_EQ(shown["warnings"], json::array({"this is a test"}));
  ASSERT_EQ(shown["objectives"].size(), 2U);
  const json& gain = shown["objectives"][1];
  EXPECT_EQ(gain["name"], "gain");
  EXPECT_EQ(gain["goal"], "maximize");
  EXPECT_EQ(gain["link"], "logit");
  EXPECT_EQ(gain["high"], 1);
  EXPECT_EQ(gain["linear"], json::array({0.5}));
  EXPECT_EQ(gain["quadratic"], json::parse("[[0.0]]"));
  EXPECT_EQ(gain["curvature"], "flat");
  EXPECT_EQ(gain["best"]["candidate"]["x"], 1.0);
  EXPECT_FALSE(shown["objectives"][0].contains("low"));
  EXPECT_EQ(shown["coordinates"][0]["name"], "x");
  EXPECT_EQ(shown["ideal"], (json{{"cost", 0.0}, {"gain", 1.0}}));
}

TEST(SurrogateApi, PredictsAFrontThatSaysSo) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  const json front = world.get_json(path + "/front?source=predicted");
  EXPECT_EQ(front["source"], "predicted");
  EXPECT_EQ(front["front_size"], 11);
  EXPECT_EQ(front["chosen"], nullptr);
  ASSERT_EQ(front["points"].size(), 11U);
  const json& point = front["points"][3];
  EXPECT_EQ(point["predicted"], true);
  EXPECT_EQ(point["candidate"]["x"], 0.3);
  EXPECT_EQ(point["objectives"]["gain"], (json{{"mean", 0.3}, {"sd", 0.125}, {"sd_mean", 0.0625}}));
  EXPECT_EQ(point["extrapolated"], false);
  const auto trial = point["nearest"]["trial"].get<TrialNumber>();
  const double measured = world.job(path)->with_state(
      [&](JobState& state) { return state.trials()[trial - 1].candidate.point[0]; });
  EXPECT_EQ(point["nearest"]["objectives"]["cost"]["value"], measured);
  EXPECT_EQ(point["nearest"]["objectives"]["cost"]["n"], 50);
  EXPECT_DOUBLE_EQ(point["nearest"]["distance"].get<double>(), std::abs(0.3 - measured));
  const json few = world.get_json(path + "/front?source=predicted&limit=2");
  EXPECT_EQ(few["front_size"], 11);
  EXPECT_EQ(few["points"].size(), 2U);
  const json some = world.get_json(path + "/front?source=predicted&limit=3&where=gain%3E%3D0.35");
  EXPECT_EQ(some["front_size"], 11);
  EXPECT_EQ(some["where"]["satisfied"], 7);
  ASSERT_EQ(some["points"].size(), 3U);
  EXPECT_EQ(some["points"][0]["candidate"]["x"], 0.4);
  EXPECT_EQ(some["points"][2]["candidate"]["x"], 1.0);
  // The measured front stays what it was.
  EXPECT_EQ(world.get_json(path + "/front")["source"], "measured");
}

TEST(SurrogateApi, AnswersTheQuestionsOfAMeasuredFrontBetweenItsPoints) {
  World world;
  const std::string path = world.finished(job_text("line", 5)) + "/front?source=predicted&";
  const json preferred = world.get_json(path + "preference=cost:0.75,gain:0.25")["chosen"];
  EXPECT_EQ(preferred["predicted"], true);
  EXPECT_EQ(preferred["candidate"]["x"], 0.25);
  EXPECT_EQ(preferred["why"]["method"], "chebyshev");
  EXPECT_EQ(preferred["why"]["weights"]["cost"], 0.75);
  EXPECT_THAT(preferred["why"]["sentence"].get<std::string>(), HasSubstr("Predicted"));
  const json summed = world.get_json(path + "preference=cost:0.75,gain:0.25&method=weighted_sum");
  EXPECT_EQ(summed["chosen"]["candidate"]["x"], 0.0);
  const json referred = world.get_json(path + "reference_point=cost:0.2,gain:0.6")["chosen"];
  EXPECT_EQ(referred["candidate"]["x"], 0.4);
  EXPECT_EQ(referred["why"]["reference_point"]["gain"], 0.6);

  const json where = world.get_json(path + "preference=cost:1&where=gain%3E%3D0.35");
  EXPECT_EQ(where["chosen"]["candidate"]["x"], 0.35);
  EXPECT_EQ(where["where"]["satisfied"], 7);
  EXPECT_EQ(where["where"]["of"], 11);
  for (const json& point : where["points"]) EXPECT_GE(point["objectives"]["gain"]["mean"], 0.35);

  const json none = world.get_json(path + "knee&where=gain%3E%3D0.8,cost%3C%3D0.1");
  EXPECT_EQ(none["chosen"], nullptr);
  EXPECT_TRUE(none["points"].empty());
  EXPECT_THAT(none["message"].get<std::string>(),
              HasSubstr("No predicted point has gain >= 0.8 and cost <= 0.1"));
  EXPECT_EQ(none["where"]["closest"]["predicted"], true);
}

TEST(SurrogateApi, WritesThePredictedFrontAsCsv) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  const HttpResponse reply =
      world.get(path + "/front?source=predicted&format=csv&preference=cost:0.5,gain:0.5&limit=2");
  EXPECT_THAT(reply.content_type, HasSubstr("text/csv"));
  EXPECT_THAT(reply.body,
              testing::StartsWith(
                  "source,x,cost,cost_sd,cost_sd_mean,gain,gain_sd,"
                  "gain_sd_mean,nearest_trial,nearest_distance,feasibility,extrapolated,chosen\r\n"
                  "predicted,0.5,0.5,0.125,0.0625,0.5,0.125,0.0625,"));
  EXPECT_EQ(std::count(reply.body.begin(), reply.body.end(), '\n'), 4);
}

TEST(SurrogateApi, ItsTagChangesWithWhatIsTold) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  std::size_t count = 0;
  for (const std::string& target : {path + "/surrogate", path + "/front?source=predicted"}) {
    const std::string tag = header(world.get(target), "ETag");
    ASSERT_NE(tag, "");
    EXPECT_EQ(world.get(target, {{"if-none-match", tag}}).status, 304);
    const std::string body = "{\"count\":" + std::to_string(++count) + "}";
    ASSERT_EQ(world.post(path + ":verify", body).status, 202);
    const auto told =
        world.job(path)->with_state([](JobState& state) { return state.trials().size(); });
    wait_until_told(*world.job(path), told);
    const HttpResponse after = world.get(target, {{"if-none-match", tag}});
    EXPECT_EQ(after.status, 200);
    EXPECT_NE(header(after, "ETag"), tag);
    EXPECT_EQ(json::parse(after.body)["trials"], told);
  }
}

TEST(SurrogateApi, SaysWhyThereIsNone) {
  World world;
  const std::string plain = world.finished(job_text("random", 3));
  for (const std::string& target : {plain + "/surrogate", plain + "/front?source=predicted"}) {
    const HttpResponse refused = world.get(target);
    EXPECT_EQ(refused.status, 409);
    EXPECT_THAT(refused.body, HasSubstr("fits no surrogate"));
    EXPECT_THAT(refused.body, HasSubstr("line"));
  }
  world.evaluator->hold();
  const std::string id = json::parse(world.post("/v1/jobs", job_text("line", 5)).body)["id"];
  world.evaluator->wait_until_held(1);
  const HttpResponse early = world.get("/v1/jobs/" + id + "/surrogate");
  EXPECT_EQ(early.status, 409);
  EXPECT_THAT(early.body, HasSubstr("no trial of the job has been measured"));
  EXPECT_THAT(early.body, HasSubstr("ask again"));
  world.evaluator->release();
  EXPECT_EQ(world.get("/v1/jobs/none/surrogate").status, 404);
  EXPECT_EQ(pointers(world.get(plain + "/front?source=predicted&at=1&confidence=0.9")),
            (std::set<std::string>{"/query/at", "/query/confidence"}));
  EXPECT_EQ(world.get(plain + "/front?source=guessed").status, 400);
}

TEST(Verify, MeasuresWhatIsMostWorthIt) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  const HttpResponse reply = world.post(path + ":verify", R"({"count":2})");
  ASSERT_EQ(reply.status, 202) << reply.body;
  const json trials = json::parse(reply.body)["trials"];
  ASSERT_EQ(trials.size(), 2U);
  EXPECT_EQ(trials[0]["trial"], 6);
  EXPECT_EQ(trials[0]["candidate"]["x"], 0.25);
  EXPECT_EQ(trials[1]["candidate"]["x"], 0.75);
  EXPECT_EQ(trials[1]["predicted"]["gain"],
            (json{{"mean", 0.75}, {"sd", 0.125}, {"sd_mean", 0.0625}}));
  wait_until_told(*world.job(path), 7);
  const json trial = world.get_json(path + "/trials/7");
  EXPECT_EQ(trial["status"], "ok");
  EXPECT_EQ(trial["tag"], "verify");
  const json progress = world.get_json(path)["progress"];
  EXPECT_EQ(progress["told"], 5);
  EXPECT_EQ(progress["injected"], 2);
  EXPECT_EQ(progress["injected_told"], 2);
  EXPECT_EQ(world.get_json(path + "/front")["front_size"], 7);
  const HttpResponse again = world.post(path + ":verify", R"({"count":2})");
  EXPECT_EQ(again.status, 409);
  EXPECT_THAT(again.body, HasSubstr("every predicted point worth measuring has been measured"));
}

TEST(Verify, MeasuresWhatAQuestionChooses) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  const HttpResponse reply = world.post(
      path + ":verify", R"({"preference":"cost:1","where":["gain>=0.35"],"fidelity":50})");
  ASSERT_EQ(reply.status, 202) << reply.body;
  const json trial = json::parse(reply.body)["trials"][0];
  EXPECT_EQ(trial["candidate"]["x"], 0.35);
  EXPECT_EQ(trial["fidelity"], 50);
  wait_until_told(*world.job(path), 6);
  const HttpResponse again = world.post(
      path + ":verify", R"({"preference":"cost:1","where":["gain>=0.35"],"fidelity":50})");
  EXPECT_EQ(again.status, 409);
  EXPECT_THAT(again.body, HasSubstr("the point that is chosen is trial 6 already"));
  const HttpResponse none =
      world.post(path + ":verify", R"({"knee":true,"where":"gain>=0.8,cost<=0.1"})");
  EXPECT_EQ(none.status, 409);
  EXPECT_THAT(none.body, HasSubstr("no predicted point meets the constraints"));
}

TEST(Verify, OnesFidelityIsNotTheNextOnes) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  const auto fidelity = [&](const std::string& body) {
    const HttpResponse reply = world.post(path + ":verify", body);
    EXPECT_EQ(reply.status, 202) << reply.body;
    const json trial = json::parse(reply.body)["trials"][0];
    wait_until_told(*world.job(path), trial["trial"].get<std::size_t>());
    return trial["fidelity"].get<std::uint64_t>();
  };
  const std::uint64_t usual = world.job(path)->with_state(
      [](JobState& state) { return state.trials()[0].candidate.fidelity; });
  EXPECT_EQ(fidelity(R"({"candidates":[{"x":0.52}],"fidelity":100})"), 100U);
  EXPECT_NE(usual, 100U);
  EXPECT_EQ(fidelity(R"({"candidates":[{"x":0.56}]})"), usual);
}

TEST(Verify, GivenCandidatesNeedNoSurrogate) {
  World world;
  const std::string path = world.finished(job_text("random", 3));
  const std::string body = R"({"candidates":[{"x":0.5},{"x":0.125}]})";
  const HttpResponse reply = world.post(path + ":verify", body);
  ASSERT_EQ(reply.status, 202) << reply.body;
  EXPECT_EQ(json::parse(reply.body)["trials"][1]["predicted"], nullptr);
  wait_until_told(*world.job(path), 5);
  const HttpResponse again = world.post(path + ":verify", body);
  EXPECT_EQ(again.status, 422);
  EXPECT_EQ(pointers(again), (std::set<std::string>{"/candidates/0", "/candidates/1"}));
  EXPECT_THAT(again.body, HasSubstr("is trial 4 already"));
  const HttpResponse another =
      world.post(path + ":verify", R"({"candidates":[{"x":0.5}],"replicate":1})");
  EXPECT_EQ(another.status, 202) << another.body;
}

TEST(Verify, ARepeatUnderItsKeyAsksForNothingMore) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  const NameValues key = {{"idempotency-key", "once"}};
  const HttpResponse first = world.post(path + ":verify", R"({"count":2})", key);
  ASSERT_EQ(first.status, 202);
  wait_until_told(*world.job(path), 7);
  const HttpResponse second = world.post(path + ":verify", R"({"count":2})", key);
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(json::parse(second.body)["trials"][1]["trial"], 7);
  EXPECT_EQ(world.post(path + ":verify", R"({"count":3})", key).status, 409);
  world.job(path)->with_state([](JobState& state) { EXPECT_EQ(state.trials().size(), 7U); });
}

TEST(Verify, NamesWhatIsWrongWithARequest) {
  World world;
  const std::string path = world.finished(job_text("line", 5));
  const auto wrong = [&](const std::string& body) {
    const HttpResponse reply = world.post(path + ":verify", body);
    EXPECT_EQ(reply.status, 422) << body << reply.body;
    return pointers(reply);
  };
  using Set = std::set<std::string>;
  EXPECT_EQ(wrong(R"({"count":0})"), Set{"/count"});
  EXPECT_EQ(wrong(R"({"count":2,"knee":true})"), Set{"/count"});
  EXPECT_EQ(wrong(R"({"preference":"price:1"})"), Set{"/preference"});
  EXPECT_EQ(wrong(R"({"where":"gain>=0.5"})"), Set{"/where"});
  EXPECT_EQ(wrong(R"({"candidates":[{"x":2},{"z":1}]})").count("/candidates/0/x"), 1U);
  EXPECT_EQ(wrong(R"({"candidates":[]})"), Set{"/candidates"});
  EXPECT_EQ(wrong(R"({"points":3})"), Set{"/points"});
  EXPECT_EQ(world.post(path + ":verify", "{").status, 400);
  EXPECT_EQ(world.post(path + ":verify", "{}", {{"idempotency-key", ""}}).status, 400);
}

}  // namespace
}  // namespace paretod
