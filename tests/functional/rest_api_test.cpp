// Every operation of the REST API on real jobs over an in-memory log: good and bad input, paging,
// caching, credentials, and server-sent events through the real HTTP server.
#include "daemon/rest/api.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "daemon/rest/event_feed.hpp"
#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

/// Only how long a failing test may hang; no passing test waits for it.
constexpr auto patience = 60s;

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// A job of two parameters on the evaluator that the test holds.
std::string two_valleys_job(std::size_t trials, const std::string& more = "") {
  return R"({"name":"valleys","optimizer":"random","evaluator":"test","seed":3,"parallelism":4,)"
         R"("space":[{"name":"x","type":"real","low":-1,"high":2},)"
         R"({"name":"y","type":"real","low":-1,"high":1}],)"
         R"("objectives":[{"name":"f1"},{"name":"f2"}],"budget":{"trials":)" +
         std::to_string(trials) + "}" + more + "}";
}

/// A manager and its API.
class World {
 public:
  /// Trials of a paid evaluator are in the log before they run, others with their outcome.
  explicit World(ApiOptions options = {}, FunctionEvaluator::Function function = two_valleys,
                 bool paid = false)
      : catalog_(make_catalog(std::move(function), paid)),
        manager_(backend_, *catalog_, {.build = "test"}),
        api_(manager_, std::move(options)) {}

  const Api& api() const { return api_; }
  JobManager& manager() { return manager_; }
  MemoryBackend& backend() { return backend_; }
  FunctionEvaluator& evaluator() { return *evaluator_; }

  HttpResponse send(const std::string& method, const std::string& target,
                    const std::string& body = "", const NameValues& headers = {}) const {
    HttpRequest request;
    request.method = method;
    request.headers = headers;
    request.body = body;
    EXPECT_TRUE(parse_target(target, request)) << target;
    return api_.handle(request);
  }
  HttpResponse get(const std::string& target, const NameValues& headers = {}) const {
    return send("GET", target, "", headers);
  }
  json get_json(const std::string& target) const {
    const HttpResponse response = get(target);
    EXPECT_EQ(response.status, 200) << target << response.body;
    return json::parse(response.body);
  }
  HttpResponse post(const std::string& target, const std::string& body = "",
                    const NameValues& headers = {}) const {
    return send("POST", target, body, headers);
  }

  std::string submit(const std::string& spec) const {
    const HttpResponse response = post("/v1/jobs", spec);
    EXPECT_EQ(response.status, 201) << response.body;
    return json::parse(response.body)["id"];
  }
  /// Submits and waits for the end.
  std::string finish(const std::string& spec) {
    const std::string id = submit(spec);
    manager_.find(id)->wait([](JobStatus) { return false; });
    return id;
  }

 private:
  std::unique_ptr<Catalog> make_catalog(FunctionEvaluator::Function function, bool paid) {
    auto evaluator = std::make_unique<FunctionEvaluator>(std::move(function), 4, paid);
    evaluator_ = evaluator.get();
    return test_catalog(std::move(evaluator));
  }

  MemoryBackend backend_;
  FunctionEvaluator* evaluator_ = nullptr;
  std::unique_ptr<Catalog> catalog_;
  JobManager manager_;
  Api api_;
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
  if (!document.contains("problems")) return found;
  for (const json& problem : document["problems"]) {
    found.insert(problem["pointer"]);
    EXPECT_FALSE(problem["message"].get<std::string>().empty());
  }
  return found;
}

using Pointers = std::set<std::string>;

// ---- creating ----------------------------------------------------------------------------------

TEST(RestCreate, RunsAJobToItsEnd) {
  World world;
  const HttpResponse created = world.post("/v1/jobs", two_valleys_job(50));
  ASSERT_EQ(created.status, 201) << created.body;
  const std::string id = json::parse(created.body)["id"];
  EXPECT_EQ(header(created, "Location"), "/v1/jobs/" + id);
  world.manager().find(id)->wait([](JobStatus) { return false; });
  const json job = world.get_json("/v1/jobs/" + id);
  EXPECT_EQ(job["status"], "succeeded");
  EXPECT_EQ(job["name"], "valleys");
  EXPECT_EQ(job["spec"]["optimizer"]["name"], "random");
  EXPECT_EQ(job["spec"]["budget"]["trials"], 50);
  EXPECT_EQ(job["progress"]["told"], 50);
  EXPECT_EQ(job["progress"]["ok"], 50);
  EXPECT_EQ(job["progress"]["in_flight"], 0);
  EXPECT_GT(job["progress"]["hypervolume"]["value"], 0.0);
  EXPECT_EQ(job["report"]["stop_reason"], "budget");
  EXPECT_EQ(job["conditions"][0]["type"], "Healthy");
  EXPECT_EQ(job["conditions"][0]["status"], true);
}

TEST(RestCreate, FillsInWhatTheEvaluatorDeclares) {
  World world;
  const std::string id =
      world.finish(R"({"optimizer":"random","evaluator":"sphere","budget":{"trials":5}})");
  const json job = world.get_json("/v1/jobs/" + id);
  EXPECT_FALSE(job["spec"]["space"].empty());
  EXPECT_EQ(job["progress"]["best"]["objectives"].size(), 1U);
  EXPECT_TRUE(job["progress"]["hypervolume"].is_null());
}

TEST(RestCreate, NamesEachBadField) {
  World world;
  const std::string ok = R"("optimizer":"random","evaluator":"sphere")";
  const std::vector<std::pair<std::string, Pointers>> cases = {
      {"{}", {"/optimizer", "/evaluator"}},
      {"[]", {""}},
      {R"({"optimizer":"nope","evaluator":"sphere"})", {"/optimizer"}},
      {R"({"optimizer":"random","evaluator":"nope"})", {"/evaluator"}},
      {R"({"optimizer":7,"evaluator":"sphere"})", {"/optimizer"}},
      {R"({"optimizer":{"name":"random","params":{"nope":1}},"evaluator":"sphere"})",
       {"/optimizer/params/nope"}},
      {R"({"optimizer":"random","evaluator":{"name":"sphere","params":{"noise":-1}}})",
       {"/evaluator/params/noise"}},
      {"{" + ok + R"(,"unheard":1})", {"/unheard"}},
      {"{" + ok + R"(,"budget":{"trials":0}})", {"/budget/trials"}},
      {"{" + ok + R"(,"budget":{"trials":1.5,"wall_s":-1,"money":3}})",
       {"/budget/trials", "/budget/wall_s", "/budget/money"}},
      {"{" + ok + R"(,"seed":"x","parallelism":0,"max_attempts":0,"trial_timeout_s":-1})",
       {"/seed", "/parallelism", "/max_attempts", "/trial_timeout_s"}},
      {"{" + ok + R"(,"name":"white space"})", {"/name"}},
      {"{" + ok + R"(,"space":[{"name":"x","type":"real","low":2,"high":1}]})", {"/space/0/low"}},
      {"{" + ok + R"(,"space":[{"name":"x","type":"unreal"}]})", {"/space/0/type"}},
      {"{" + ok +
           R"(,"space":[{"name":"x","type":"real","low":0,"high":1},)"
           R"({"name":"x","type":"real","low":0,"high":1}]})",
       {"/space/1/name"}},
  };
  for (const auto& [body, expected] : cases) {
    const HttpResponse response = world.post("/v1/jobs", body);
    EXPECT_EQ(response.status, 422) << body << response.body;
    EXPECT_EQ(response.content_type, "application/problem+json");
    EXPECT_EQ(pointers(response), expected) << body << response.body;
    EXPECT_EQ(json::parse(response.body)["type"], "/problems/invalid-spec");
  }
  EXPECT_TRUE(world.manager().list().empty());
}

TEST(RestCreate, RefusesWhatIsNotJson) {
  World world;
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += "[";
  for (const std::string& body :
       std::vector<std::string>{"", "{", "{\"optimizer\":NaN}", "null null", "{\"a\":1,\"a\":2}",
                                deep, "{\"seed\":1e999}", "\xff", "{'a':1}"}) {
    const HttpResponse response = world.post("/v1/jobs", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(json::parse(response.body)["type"], "/problems/malformed-json") << body;
  }
}

TEST(RestCreate, RepeatsUnderOneKeyMakeOneJob) {
  World world;
  const NameValues key = {{"idempotency-key", "my key 1"}};
  const std::string spec = R"({"optimizer":"random","evaluator":"sphere","seed":4})";
  const std::string same = R"({ "seed" : 4, "evaluator":"sphere", "optimizer":"random" })";
  const std::string other = R"({"optimizer":"random","evaluator":"sphere","seed":5})";
  const HttpResponse first = world.post("/v1/jobs", spec, key);
  ASSERT_EQ(first.status, 201) << first.body;
  for (const std::string& body : {spec, same}) {
    const HttpResponse again = world.post("/v1/jobs", body, key);
    EXPECT_EQ(again.status, 200);
    EXPECT_EQ(json::parse(again.body)["id"], json::parse(first.body)["id"]);
    EXPECT_EQ(header(again, "Location"), header(first, "Location"));
  }
  EXPECT_EQ(world.post("/v1/jobs", other, key).status, 409);
  EXPECT_EQ(world.post("/v1/jobs", other, {{"idempotency-key", "my key 2"}}).status, 201);
  EXPECT_EQ(world.manager().list().size(), 2U);
}

TEST(RestCreate, RefusesKeysItCannotKeep) {
  World world;
  const std::string spec = R"({"optimizer":"random","evaluator":"sphere"})";
  for (const std::string& key : {std::string(), std::string(129, 'k'), std::string("caf\xc3\xa9"),
                                 std::string("tab\there")}) {
    EXPECT_EQ(world.post("/v1/jobs", spec, {{"idempotency-key", key}}).status, 400) << key;
  }
  EXPECT_EQ(world.post("/v1/jobs", spec, {{"idempotency-key", std::string(128, 'k')}}).status, 201);
}

// ---- strictness --------------------------------------------------------------------------------

/// Every operation with its path filled in.
std::vector<std::pair<const Operation*, std::string>> concrete(const Api& api,
                                                               const std::string& job) {
  std::vector<std::pair<const Operation*, std::string>> list;
  for (const Operation& operation : api.operations()) {
    std::string path = operation.pattern;
    for (const auto& [name, value] :
         std::vector<std::pair<std::string, std::string>>{{"{job}", job}, {"{trial}", "1"}}) {
      if (const auto at = path.find(name); at != path.npos) path.replace(at, name.size(), value);
    }
    list.emplace_back(&operation, path);
  }
  return list;
}

TEST(RestStrictness, UnknownQueryParametersAreNamedEverywhere) {
  World world;
  const std::string id = world.finish(two_valleys_job(5));
  for (const auto& [operation, path] : concrete(world.api(), id)) {
    const HttpResponse response = world.send(operation->method, path + "?page_sise=3");
    EXPECT_EQ(response.status, 400) << path;
    EXPECT_EQ(pointers(response), Pointers{"/query/page_sise"}) << path;
    EXPECT_NE(json::parse(response.body)["detail"].get<std::string>().find("page_sise"),
              std::string::npos);
  }
}

TEST(RestStrictness, UnknownJobsAreNotFoundEverywhere) {
  World world;
  for (const auto& [operation, path] : concrete(world.api(), "nobody-1")) {
    if (operation->pattern.find("{job}") == std::string::npos) continue;
    const HttpResponse response = world.send(operation->method, path);
    const bool needs_body = operation->body_required;
    EXPECT_EQ(response.status, needs_body ? 400 : 404) << path;
    if (needs_body) {
      EXPECT_EQ(world.post(path, R"({"parallelism":1})").status, 404);
    }
  }
  EXPECT_EQ(world.get("/v1/nothing").status, 404);
  EXPECT_EQ(world.get("/v1/jobs/..%2f").status, 404);
}

TEST(RestStrictness, BodiesWhereNoneBelongAreRefused) {
  World world;
  const std::string id = world.finish(two_valleys_job(5));
  for (const auto& [operation, path] : concrete(world.api(), id)) {
    if (!operation->body_schema.empty()) continue;
    EXPECT_EQ(world.send(operation->method, path, "{}").status, 400) << path;
  }
}

TEST(RestStrictness, OtherMethodsAreNotAllowed) {
  World world;
  const HttpResponse response = world.send("DELETE", "/v1/jobs");
  EXPECT_EQ(response.status, 405);
  EXPECT_NE(header(response, "Allow").find("POST"), std::string::npos);
  EXPECT_EQ(world.get("/v1/jobs/x:pause").status, 405);
}

TEST(RestStrictness, ReadingChangesNothing) {
  World world;
  const std::string id = world.finish(two_valleys_job(30));
  const auto before = raw_log(world.backend(), id);
  for (const auto& [operation, path] : concrete(world.api(), id)) {
    if (operation->method != "GET") continue;
    const HttpResponse response = world.get(path);
    // Only what a `merge` evaluator evaluates has a recipe.
    EXPECT_EQ(response.status, path.ends_with("/recipe") ? 404 : 200) << path;
    if (response.stream) response.stream->client_gone();
  }
  EXPECT_EQ(raw_log(world.backend(), id), before);
  EXPECT_EQ(world.manager().list().size(), 1U);
}

TEST(RestStrictness, MalformedNumbersAndTokensAreRefused) {
  World world;
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(5));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/v1/jobs?page_size=0", "/query/page_size"},
      {"/v1/jobs?page_size=ten", "/query/page_size"},
      {"/v1/jobs?page_token=zzz", "/query/page_token"},
      {"/v1/jobs?page_token=12.bad%20id", "/query/page_token"},
      {"/v1/jobs?status=happy", "/query/status"},
      {job + "/trials?page_token=-1", "/query/page_token"},
      {job + "/trials?page_token=1x", "/query/page_token"},
      {job + "/trials?status=told", "/query/status"},
      {job + "/front?limit=0", "/query/limit"},
      {job + "/front?limit=10001", "/query/limit"},
      {job + "/front?format=xml", "/query/format"},
      {job + "/front?at=0", "/query/at"},
      {job + "/front?at=6", "/query/at"},
      {job + "/front?at=-1", "/query/at"},
      {job + "/front?at=99999999999999999999", "/query/at"},
      {job + "/front?knee=maybe", "/query/knee"},
      {job + "/front?knee&knee", "/query/knee"},
      {job + "/front?preference=f1:1&preference=f2:1", "/query/preference"},
      {job + "/front?preference=", "/query/preference"},
      {job + "/front?preference=f3:1", "/query/preference"},
      {job + "/front?preference=f1:nan", "/query/preference"},
      {job + "/front?preference=f1:-1", "/query/preference"},
      {job + "/front?preference=f1:0", "/query/preference"},
      {job + "/front?preference=f1:1&method=best", "/query/method"},
      {job + "/front?method=chebyshev", "/query/method"},
      {job + "/front?reference_point=f1", "/query/reference_point"},
      {job + "/front?reference_point=f1:1e999", "/query/reference_point"},
      {job + "/front?preference=f1:1&reference_point=f1:1", "/query/reference_point"},
      {job + "/front?preference=f1:1&knee", "/query/knee"},
      {job + "/front?knee=true&reference_point=f1:1", "/query/knee"},
      {job + "/front?where=f1", "/query/where"},
      {job + "/front?where=f3%3C1", "/query/where"},
      {job + "/front?where=f1<1&where=f1<inf", "/query/where"},
      {job + "/front?confidence=2", "/query/confidence"},
      {job + "/history?points=1", "/query/points"},
      {job + "/history?reference_point=f1:1", "/query/reference_point"},
      {job + "/history?reference_point=f1:1,f2:nan", "/query/reference_point"},
      {job + "/history?reference_point=f1:1,g:2", "/query/reference_point"},
      {job + "/export?limit=0", "/query/limit"},
      {job + "/export?after=1", "/query/after"},
      {job + "/events?after=1-", "/query/after"},
      {job + "/events?after=1-2-3", "/query/after"},
      {job + "/events?after=-1-2", "/query/after"},
  };
  for (const auto& [target, pointer] : cases) {
    const HttpResponse response = world.get(target);
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_EQ(pointers(response), Pointers{pointer}) << target;
  }
  const HttpResponse bad_header = world.get(job + "/events", {{"last-event-id", "latest"}});
  EXPECT_EQ(bad_header.status, 400);
  EXPECT_EQ(pointers(bad_header), Pointers{"/headers/last-event-id"});
}

// ---- lists -------------------------------------------------------------------------------------

TEST(RestJobs, ArePagedNewestFirst) {
  World world;
  std::set<std::string> submitted;
  for (int i = 0; i < 7; ++i) submitted.insert(world.finish(two_valleys_job(3)));
  const json all = world.get_json("/v1/jobs");
  std::vector<std::string> listed;
  std::string token;
  do {
    const json page =
        world.get_json("/v1/jobs?page_size=3" + (token.empty() ? "" : "&page_token=" + token));
    EXPECT_LE(page["jobs"].size(), 3U);
    for (const json& job : page["jobs"]) {
      listed.push_back(job["id"]);
      EXPECT_FALSE(job.contains("spec"));
      EXPECT_FALSE(job.contains("report"));
      EXPECT_EQ(job["progress"]["told"], 3);
    }
    token = page.value("next_page_token", "");
  } while (!token.empty());
  EXPECT_EQ(listed.size(), 7U);
  EXPECT_EQ(std::set<std::string>(listed.begin(), listed.end()), submitted);
  std::string previous = "9";
  for (const json& job : all["jobs"]) {
    EXPECT_LE(job["create_time"].get<std::string>(), previous);
    previous = job["create_time"];
  }
}

TEST(RestJobs, AreFilteredByStatus) {
  World world;
  const std::string done = world.finish(two_valleys_job(3));
  world.evaluator().hold();
  const std::string held = world.submit(two_valleys_job(100));
  EXPECT_EQ(world.post("/v1/jobs/" + held + ":pause").status, 200);
  const json succeeded = world.get_json("/v1/jobs?status=succeeded")["jobs"];
  ASSERT_EQ(succeeded.size(), 1U);
  EXPECT_EQ(succeeded[0]["id"], done);
  const json paused = world.get_json("/v1/jobs?status=paused")["jobs"];
  ASSERT_EQ(paused.size(), 1U);
  EXPECT_EQ(paused[0]["id"], held);
  EXPECT_TRUE(world.get_json("/v1/jobs?status=failed")["jobs"].empty());
  world.evaluator().release();
}

TEST(RestTrials, ArePagedCompletely) {
  World world;
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(1234));
  std::uint64_t next = 1;
  std::string token;
  do {
    const json page = world.get_json(job + "/trials?page_size=100" +
                                     (token.empty() ? "" : "&page_token=" + token));
    for (const json& trial : page["trials"]) {
      ASSERT_EQ(trial["number"], next++);
      ASSERT_EQ(trial["status"], "ok");
    }
    token = page.value("next_page_token", "");
  } while (!token.empty());
  EXPECT_EQ(next, 1235U);
  EXPECT_EQ(world.get_json(job + "/trials?page_size=100000")["trials"].size(), 500U);
  EXPECT_EQ(world.get_json(job + "/trials")["trials"].size(), 100U);
}

TEST(RestTrials, AreFilteredByStatusOverPages) {
  World world({}, [](const EvaluationRequest& request) {
    EvaluationReply reply = two_valleys(request);
    if (request.trial % 7 == 0) {
      reply.outcome = Outcome::failure(TrialStatus::infeasible, "every seventh");
    }
    return reply;
  });
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(700));
  std::vector<std::uint64_t> numbers;
  std::string token;
  do {
    const json page = world.get_json(job + "/trials?status=infeasible&page_size=9" +
                                     (token.empty() ? "" : "&page_token=" + token));
    for (const json& trial : page["trials"]) {
      numbers.push_back(trial["number"]);
      EXPECT_EQ(trial["outcome"]["reason"], "every seventh");
    }
    token = page.value("next_page_token", "");
  } while (!token.empty());
  ASSERT_EQ(numbers.size(), 100U);
  for (std::size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ(numbers[i], 7 * (i + 1));
  EXPECT_TRUE(world.get_json(job + "/trials?status=unknown")["trials"].empty());
}

TEST(RestTrials, AreShownOneByOneAndWhileTheyRun) {
  World world({}, two_valleys, /*paid=*/true);
  world.evaluator().hold();
  const std::string id = world.submit(two_valleys_job(10));
  const std::string job = "/v1/jobs/" + id;
  world.evaluator().wait_until_held(4);
  ASSERT_TRUE(eventually(
      [&] { return world.get_json(job + "/trials?status=asked")["trials"].size() == 4; }));
  json trial = world.get_json(job + "/trials/1");
  EXPECT_EQ(trial["status"], "asked");
  EXPECT_FALSE(trial.contains("outcome"));
  world.evaluator().release();
  world.manager().find(id)->wait([](JobStatus) { return false; });
  trial = world.get_json(job + "/trials/1");
  EXPECT_EQ(trial["status"], "ok");
  const double x = trial["candidate"]["x"];
  const double y = trial["candidate"]["y"];
  EXPECT_EQ(trial["outcome"]["objectives"]["f1"]["value"], x * x + y * y);
  for (const std::string number : {"0", "11", "x", "1x", "99999999999999999999999"}) {
    EXPECT_EQ(world.get(job + "/trials/" + number).status, 404) << number;
  }
}

// ---- verbs -------------------------------------------------------------------------------------

TEST(RestVerbs, PauseResumeExtendCancel) {
  World world;
  const std::string id = world.submit(two_valleys_job(1'000'000));
  const std::string job = "/v1/jobs/" + id;
  HttpResponse response = world.post(job + ":pause", R"({"reason":"lunch"})");
  ASSERT_EQ(response.status, 200) << response.body;
  json view = json::parse(response.body);
  EXPECT_EQ(view["status"], "paused");
  EXPECT_EQ(view["status_reason"], "lunch");
  EXPECT_TRUE(view.contains("spec"));
  EXPECT_EQ(world.post(job + ":pause").status, 200);

  response =
      world.post(job + ":extend", R"({"budget":{"trials":999999,"wall_s":3600},"parallelism":2})");
  ASSERT_EQ(response.status, 200) << response.body;
  view = json::parse(response.body);
  EXPECT_EQ(view["progress"]["budget_trials"], 999'999);
  EXPECT_EQ(view["progress"]["parallelism"], 2);
  EXPECT_EQ(view["spec"]["budget"]["trials"], 1'000'000);

  response = world.post(job + ":resume", "{}");
  ASSERT_EQ(response.status, 200);
  EXPECT_EQ(json::parse(response.body)["status"], "running");
  response = world.post(job + ":cancel");
  ASSERT_EQ(response.status, 200);
  EXPECT_EQ(json::parse(response.body)["status"], "cancelled");
  EXPECT_EQ(world.post(job + ":cancel").status, 200);
  for (const std::string verb : {":pause", ":resume"}) {
    EXPECT_EQ(world.post(job + verb).status, 409) << verb;
  }
  EXPECT_EQ(world.post(job + ":extend", R"({"parallelism":1})").status, 409);
}

TEST(RestVerbs, NameBadFieldsAndChangeNothing) {
  World world;
  world.evaluator().hold();
  const std::string id = world.submit(two_valleys_job(100));
  const std::string job = "/v1/jobs/" + id;
  ASSERT_EQ(world.post(job + ":pause").status, 200);
  const auto before = raw_log(world.backend(), id);
  const std::vector<std::tuple<std::string, std::string, Pointers>> cases = {
      {":pause", R"({"why":"x"})", {"/why"}},
      {":pause", R"({"reason":7})", {"/reason"}},
      {":pause", "{\"reason\":\"" + std::string(1001, 'x') + "\"}", {"/reason"}},
      {":pause", "[]", {""}},
      {":resume", R"({"now":true})", {"/now"}},
      {":cancel", R"({"force":true})", {"/force"}},
      {":extend", "{}", {""}},
      {":extend", R"({"budget":{}})", {""}},
      {":extend", R"({"budget":{"trials":0}})", {"/budget/trials"}},
      {":extend",
       R"({"budget":{"trials":1000001,"wall_s":-1,"money":1}})",
       {"/budget/trials", "/budget/wall_s", "/budget/money"}},
      {":extend", R"({"parallelism":0,"seed":1})", {"/parallelism", "/seed"}},
      {":extend", R"({"budget":7})", {"/budget"}},
  };
  for (const auto& [verb, body, expected] : cases) {
    const HttpResponse response = world.post(job + verb, body);
    EXPECT_EQ(response.status, 422) << verb << body << response.body;
    EXPECT_EQ(pointers(response), expected) << verb << body;
  }
  for (const std::string verb : {":pause", ":resume", ":cancel", ":extend"}) {
    EXPECT_EQ(world.post(job + verb, "{").status, 400) << verb;
  }
  EXPECT_EQ(raw_log(world.backend(), id), before);
  world.evaluator().release();
}

// ---- front and history -------------------------------------------------------------------------

TEST(RestFront, HoldsTheNonDominatedTrials) {
  World world;
  const std::string id = world.finish(two_valleys_job(400));
  const std::string job = "/v1/jobs/" + id;
  std::vector<std::vector<double>> measured;
  std::string token;
  do {
    const json page = world.get_json(job + "/trials?page_size=500" +
                                     (token.empty() ? "" : "&page_token=" + token));
    for (const json& trial : page["trials"]) {
      const json& objectives = trial["outcome"]["objectives"];
      measured.push_back({objectives["f1"]["value"], objectives["f2"]["value"]});
    }
    token = page.value("next_page_token", "");
  } while (!token.empty());
  std::set<std::uint64_t> expected;
  for (std::size_t i = 0; i < measured.size(); ++i) {
    const bool dominated = std::any_of(measured.begin(), measured.end(), [&](const auto& other) {
      return dominates(other, measured[i]);
    });
    if (!dominated) expected.insert(i + 1);
  }

  const json front = world.get_json(job + "/front");
  EXPECT_EQ(front["job"], id);
  EXPECT_EQ(front["status"], "succeeded");
  EXPECT_EQ(front["source"], "measured");
  EXPECT_EQ(front["trials"], 400);
  EXPECT_EQ(front["front_size"], expected.size());
  EXPECT_TRUE(front["recommended"].is_null());
  std::set<std::uint64_t> shown;
  for (const json& point : front["points"]) {
    shown.insert(point["trial"].get<std::uint64_t>());
    EXPECT_EQ(point["objectives"]["f1"]["replicates"], 1);
    EXPECT_TRUE(point["candidate"].contains("x"));
  }
  EXPECT_EQ(shown, expected);
  // What was remembered reads the same.
  EXPECT_EQ(world.get_json(job + "/front"), front);
  const json few = world.get_json(job + "/front?limit=3");
  ASSERT_EQ(few["points"].size(), 3U);
  EXPECT_EQ(few["front_size"], expected.size());
  EXPECT_EQ(few["points"][0], front["points"].front());
  EXPECT_EQ(few["points"][2], front["points"].back());
}

TEST(RestFront, IsNotSentAgainUntilItChanges) {
  World world;
  world.evaluator().hold();
  const std::string id = world.submit(two_valleys_job(50));
  const std::string front = "/v1/jobs/" + id + "/front";
  world.manager().find(id)->wait([](JobStatus status) { return status == JobStatus::running; });
  const HttpResponse empty = world.get(front);
  ASSERT_EQ(empty.status, 200);
  const std::string tag = header(empty, "ETag");
  ASSERT_FALSE(tag.empty());
  for (const std::string& field : {tag, tag.substr(2), "\"other\", " + tag, std::string("*")}) {
    const HttpResponse same = world.get(front, {{"if-none-match", field}});
    EXPECT_EQ(same.status, 304) << field;
    EXPECT_TRUE(same.body.empty());
    EXPECT_EQ(header(same, "ETag"), tag);
  }
  EXPECT_EQ(world.get(front, {{"if-none-match", "\"other\""}}).status, 200);
  EXPECT_EQ(world.get(front + "?limit=2", {{"if-none-match", tag}}).status, 200);
  world.evaluator().release();
  world.manager().find(id)->wait([](JobStatus) { return false; });
  const HttpResponse changed = world.get(front, {{"if-none-match", tag}});
  EXPECT_EQ(changed.status, 200);
  EXPECT_NE(header(changed, "ETag"), tag);
}

TEST(RestFront, IsServedAsCsv) {
  World world;
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(200));
  const json front = world.get_json(job + "/front");
  const HttpResponse response = world.get(job + "/front?format=csv");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type.substr(0, 8), "text/csv");
  std::istringstream lines(response.body);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "trial,x,y,f1,f1_stderr,f2,f2_stderr,replicates\r");
  for (const json& point : front["points"]) {
    ASSERT_TRUE(std::getline(lines, line));
    std::vector<std::string> cells;
    std::istringstream fields(line);
    for (std::string cell; std::getline(fields, cell, ',');) cells.push_back(cell);
    ASSERT_EQ(cells.size(), 8U) << line;
    EXPECT_EQ(std::stoull(cells[0]), point["trial"]);
    EXPECT_EQ(std::stod(cells[1]), point["candidate"]["x"]);
    EXPECT_EQ(std::stod(cells[3]), point["objectives"]["f1"]["value"]);
    EXPECT_EQ(cells[4], "");
    EXPECT_EQ(cells[7], "1\r");
  }
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(RestFront, CsvHasAColumnPerCoefficientAndQuotesNames) {
  World world({}, [](const EvaluationRequest& request) {
    EvaluationReply reply;
    reply.outcome.objectives = {{request.candidate.point[0], 0.5, 10}};
    return reply;
  });
  const std::string job =
      "/v1/jobs/" +
      world.finish(R"({"optimizer":"random","evaluator":"test","budget":{"trials":3},)"
                   R"("space":[{"name":"alpha","type":"affine","size":3},)"
                   R"({"name":"kind","type":"categorical","choices":["a,b","c\"d"]}],)"
                   R"("objectives":[{"name":"loss"}]})");
  const std::string text = world.get(job + "/front?format=csv").body;
  EXPECT_EQ(text.substr(0, text.find('\r')),
            "trial,alpha[0],alpha[1],alpha[2],kind,loss,loss_stderr,replicates");
  EXPECT_NE(text.find(",0.5,1\r\n"), std::string::npos) << text;
  EXPECT_TRUE(text.find("\"a,b\"") != text.npos || text.find("\"c\"\"d\"") != text.npos) << text;
  const json best = world.get_json(job)["progress"]["best"]["objectives"]["loss"];
  EXPECT_EQ(best["stderr"], 0.5);
  EXPECT_EQ(best["n"], 10);
  EXPECT_EQ(best["replicates"], 1);
}

TEST(RestFront, HasTheReportsRecommendation) {
  World world;
  const std::string id = world.finish(
      R"({"optimizer":{"name":"lcsc","params":{"selection_candidates":3,"selection_replicates":2,)"
      R"("report_replicates":2}},"evaluator":"lcsc-toy","budget":{"trials":60},"seed":7,)"
      R"("space":[{"name":"alpha","type":"affine","size":6}]})");
  const json front = world.get_json("/v1/jobs/" + id + "/front");
  const json report = world.get_json("/v1/jobs/" + id)["report"];
  ASSERT_FALSE(front["recommended"].is_null());
  EXPECT_EQ(front["recommended"]["name"], report["rows"][0]["name"]);
  EXPECT_EQ(front["recommended"]["candidate"]["alpha"].size(), 6U);
  EXPECT_EQ(front["recommended"]["estimates"], report["rows"][0]["estimates"]);
}

TEST(RestFront, ChoosesAndSaysWhy) {
  World world;
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(400));
  const json front = world.get_json(job + "/front");
  EXPECT_TRUE(front["chosen"].is_null());
  EXPECT_FALSE(front.contains("plausible"));
  ASSERT_GT(front["points"].size(), 3U);
  EXPECT_TRUE(front["points"].front()["crowding_distance"].is_null());
  EXPECT_GT(front["points"][1]["crowding_distance"], 0.0);

  // All weight on one objective gives its end of the front.
  const json first = world.get_json(job + "/front?preference=f1:2");
  EXPECT_EQ(first["chosen"]["trial"], front["points"].front()["trial"]);
  EXPECT_EQ(first["chosen"]["candidate"], front["points"].front()["candidate"]);
  EXPECT_EQ(first["chosen"]["objectives"]["f1"]["replicates"], 1);
  EXPECT_EQ(first["points"], front["points"]);
  const json& why = first["chosen"]["why"];
  EXPECT_EQ(why["method"], "chebyshev");
  EXPECT_EQ(why["weights"], json::parse(R"({"f1":1.0,"f2":0.0})"));
  EXPECT_EQ(why["runner_up"]["trial"], front["points"][1]["trial"]);
  EXPECT_GE(why["runner_up"]["value"], why["value"]);
  EXPECT_NE(why["sentence"].get<std::string>().find(
                "Trial " + std::to_string(first["chosen"]["trial"].get<int>())),
            std::string::npos);
  const json second = world.get_json(job + "/front?preference=f2:1,f1:0&method=weighted_sum");
  EXPECT_EQ(second["chosen"]["trial"], front["points"].back()["trial"]);
  EXPECT_EQ(second["chosen"]["why"]["method"], "weighted_sum");

  // A point asked for by its own values is found.
  const json& middle = front["points"][front["points"].size() / 2];
  const json by_reference = world.get_json(
      job + "/front?reference_point=f1:" + middle["objectives"]["f1"]["value"].dump() +
      ",f2:" + middle["objectives"]["f2"]["value"].dump());
  EXPECT_EQ(by_reference["chosen"]["trial"], middle["trial"]);
  EXPECT_EQ(by_reference["chosen"]["why"]["method"], "reference_point");
  EXPECT_EQ(world.get_json(job + "/front?knee")["chosen"]["why"]["method"], "knee");
  EXPECT_TRUE(world.get_json(job + "/front?knee=false")["chosen"].is_null());
}

TEST(RestFront, AppliesConstraintsBeforeTheChoice) {
  World world;
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(400));
  const json front = world.get_json(job + "/front");
  const json& middle = front["points"][front["points"].size() / 2];
  const std::string bound = middle["objectives"]["f2"]["value"].dump();
  for (const std::string& where : {"f2<=" + bound, "f2%3C%3D" + bound, "f2+%3C=+" + bound}) {
    const json answer = world.get_json(job + "/front?preference=f1:1&where=" + where);
    EXPECT_EQ(answer["chosen"]["trial"], middle["trial"]) << where;
    EXPECT_EQ(answer["front_size"], front["front_size"]);
    EXPECT_EQ(answer["where"]["of"], front["front_size"]);
    EXPECT_EQ(answer["where"]["satisfied"], answer["points"].size());
    EXPECT_EQ(answer["chosen"]["why"]["considered"], answer["points"].size());
    for (const json& point : answer["points"]) {
      EXPECT_LE(point["objectives"]["f2"]["value"], middle["objectives"]["f2"]["value"]);
    }
  }
  EXPECT_EQ(world.get_json(job + "/front?where=f2=" + bound)["points"].size(), 1U);
  const json none = world.get_json(job + "/front?knee&where=f1<-5,f2<1000&where=f2>-1000");
  EXPECT_TRUE(none["points"].empty());
  EXPECT_TRUE(none["chosen"].is_null());
  EXPECT_EQ(none["where"]["closest"]["trial"], front["points"].front()["trial"]);
  ASSERT_EQ(none["where"]["closest"]["misses"].size(), 1U);
  EXPECT_EQ(none["where"]["closest"]["misses"][0]["constraint"], "f1 < -5");
  EXPECT_NE(none["message"].get<std::string>().find("misses f1 < -5 by"), std::string::npos);
}

TEST(RestFront, GoalsHaveTheUsersSign) {
  World world({}, [](const EvaluationRequest& request) {
    EvaluationReply reply;
    const double x = request.candidate.point[0];
    reply.outcome.objectives = {{x}, {x * (2 - x)}};  // more cost, more accuracy
    return reply;
  });
  const std::string job =
      "/v1/jobs/" +
      world.finish(R"({"optimizer":"random","evaluator":"test","budget":{"trials":50},)"
                   R"("space":[{"name":"x","type":"real","low":0,"high":1}],)"
                   R"("objectives":[{"name":"cost"},{"name":"acc","goal":"maximize"}]})");
  const json front = world.get_json(job + "/front?where=acc>=0.5&preference=cost:1");
  EXPECT_EQ(front["front_size"], 50);
  EXPECT_GT(front["ideal"]["acc"], front["nadir"]["acc"]);
  for (const json& point : front["points"]) EXPECT_GE(point["objectives"]["acc"]["value"], 0.5);
  EXPECT_EQ(front["chosen"], [&] {
    json first = front["points"].front();
    first["why"] = front["chosen"]["why"];
    return first;
  }());
  const json best = world.get_json(job + "/front?preference=acc:1");
  EXPECT_EQ(best["chosen"]["objectives"]["acc"]["value"], best["ideal"]["acc"]);
  const json reached = world.get_json(job + "/front?reference_point=acc:0.1");
  EXPECT_EQ(reached["chosen"]["objectives"]["acc"]["value"], best["ideal"]["acc"]);
  EXPECT_LT(reached["chosen"]["why"]["value"], 0.0);
}

TEST(RestFront, IsShownAsOfATrial) {
  World world;
  const std::string id = world.finish(two_valleys_job(120));
  const std::string job = "/v1/jobs/" + id;
  const json now = world.get_json(job + "/front");
  const auto [order, values] = world.manager().find(id)->with_state([](JobState& state) {
    std::vector<std::vector<double>> told;
    for (const TrialNumber number : state.told_order()) {
      const auto& objectives = state.trials()[number - 1].outcome->objectives;
      told.push_back({objectives[0].value, objectives[1].value});
    }
    return std::pair(state.told_order(), told);
  });
  for (const std::size_t told : {1U, 2U, 17U, 60U, 120U}) {
    ParetoArchive archive;
    for (std::size_t i = 0; i < told; ++i) archive.insert(order[i], values[i]);
    const json then = world.get_json(job + "/front?at=" + std::to_string(order[told - 1]));
    EXPECT_EQ(then["at"], order[told - 1]);
    EXPECT_EQ(then["trials"], told);
    ASSERT_EQ(then["points"].size(), archive.size());
    for (std::size_t i = 0; i < archive.size(); ++i) {
      EXPECT_EQ(then["points"][i]["trial"], archive.id(i));
    }
    if (told == 120) {
      EXPECT_EQ(then["points"], now["points"]);
    }
  }
  const std::string third = std::to_string(order[2]);
  const HttpResponse first = world.get(job + "/front?knee&at=" + third);
  EXPECT_EQ(world.get(job + "/front?knee&at=" + third).body, first.body);
}

TEST(RestFront, EveryPartOfTheQuestionIsInTheTag) {
  World world;
  const std::string front = "/v1/jobs/" + world.finish(two_valleys_job(50)) + "/front?";
  std::set<std::string> tags;
  const std::vector<std::string> questions = {"limit=9",
                                              "limit=8",
                                              "format=csv",
                                              "knee",
                                              "preference=f1:1",
                                              "preference=f2:1",
                                              "preference=f1:1&method=weighted_sum",
                                              "reference_point=f1:1",
                                              "where=f1<1",
                                              "where=f1<=1",
                                              "at=3",
                                              "at=4",
                                              "at=3&knee",
                                              "confidence=0.9",
                                              "confidence=0.95"};
  for (const std::string& question : questions) {
    const HttpResponse response = world.get(front + question);
    ASSERT_EQ(response.status, 200) << question;
    const std::string tag = header(response, "ETag");
    EXPECT_TRUE(tags.insert(tag).second) << question;
    EXPECT_EQ(world.get(front + question, {{"if-none-match", tag}}).status, 304) << question;
  }
  EXPECT_EQ(world.get(front + "knee=perhaps", {{"if-none-match", "*"}}).status, 400);
  EXPECT_EQ(header(world.get(front + "knee&limit=9"), "ETag"),
            header(world.get(front + "limit=9&knee"), "ETag"));
}

TEST(RestFront, CsvHasTheChosenPointFirst) {
  World world;
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(200));
  const json front = world.get_json(job + "/front?knee");
  std::istringstream lines(world.get(job + "/front?knee&format=csv&confidence=0.9").body);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "trial,x,y,f1,f1_stderr,f2,f2_stderr,replicates,on_front,chosen\r");
  std::getline(lines, line);
  EXPECT_EQ(line.substr(0, line.find(',')), front["chosen"]["trial"].dump());
  EXPECT_EQ(line.substr(line.size() - 5), ",1,1\r");
  std::size_t rest = 0;
  while (std::getline(lines, line)) {
    EXPECT_EQ(line.substr(line.size() - 5), ",1,0\r");
    ++rest;
  }
  EXPECT_EQ(rest + 1, front["points"].size());
  EXPECT_EQ(world.get(job + "/front?where=f1<-9&format=csv").body,
            "trial,x,y,f1,f1_stderr,f2,f2_stderr,replicates\r\n");
}

TEST(RestFront, ListsWhatNothingDominatesForSure) {
  // Two clear points, one within the noise of the first, one far off.
  World world({}, [](const EvaluationRequest& request) {
    EvaluationReply reply;
    const double x = request.candidate.point[0];
    const std::vector<std::pair<double, double>> values = {{1, 2}, {2, 1}, {1.1, 2.1}, {5, 5}};
    const auto& [a, b] = values[static_cast<std::size_t>(x)];
    reply.outcome.objectives = {{a, 0.1, 100}, {b, 0.1, 100}};
    return reply;
  });
  const std::string job =
      "/v1/jobs/" +
      world.finish(R"({"optimizer":"random","evaluator":"test","budget":{"trials":40},)"
                   R"("space":[{"name":"x","type":"integer","low":0,"high":3}],)"
                   R"("objectives":[{"name":"a"},{"name":"b"}]})");
  const json front = world.get_json(job + "/front?confidence=0.95");
  EXPECT_EQ(front["front_size"], 2);
  EXPECT_EQ(front["plausible"]["confidence"], 0.95);
  ASSERT_EQ(front["plausible"]["points"].size(), front["plausible"]["count"]);
  EXPECT_LE(front["plausible"]["count"], 1);
  for (const json& point : front["plausible"]["points"]) EXPECT_EQ(point["candidate"]["x"], 2);
  EXPECT_EQ(world.get_json(job + "/front?confidence=0.5")["plausible"]["count"], 0);
}

TEST(RestFront, AnswersQuestionsBeforeAnythingIsMeasured) {
  World world;
  world.evaluator().hold();
  const std::string front = "/v1/jobs/" + world.submit(two_valleys_job(50)) + "/front";
  for (const std::string& question :
       {std::string("?knee"), std::string("?preference=f1:1&where=f2<1"),
        std::string("?confidence=0.9"), std::string("?reference_point=f1:1&limit=3")}) {
    const json answer = world.get_json(front + question);
    EXPECT_TRUE(answer["chosen"].is_null()) << question;
    EXPECT_TRUE(answer["points"].empty()) << question;
    EXPECT_TRUE(answer["ideal"].is_null()) << question;
  }
  EXPECT_EQ(world.get(front + "?at=1").status, 400);
  world.evaluator().release();
}

TEST(RestHistory, TakesAReferencePointAndCountsSpend) {
  World world;
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(100));
  const json usual = world.get_json(job + "/history")["history"].back();
  const json given = world.get_json(job + "/history?reference_point=f1:100,f2:100");
  EXPECT_EQ(given["reference_point"], json::parse(R"({"f1":100.0,"f2":100.0})"));
  EXPECT_GT(given["history"].back()["hypervolume"], usual["hypervolume"]);
  EXPECT_EQ(usual["evaluation_seconds"], world.get_json(job)["progress"]["evaluation_seconds"]);
  EXPECT_EQ(usual["best"], world.get_json(job + "/front")["ideal"]);
}

TEST(RestHistory, EndsWithWhatTheJobShows) {
  World world;
  const std::string job = "/v1/jobs/" + world.finish(two_valleys_job(300));
  const json history = world.get_json(job + "/history?points=50");
  ASSERT_EQ(history["history"].size(), 50U);
  const json progress = world.get_json(job)["progress"];
  const json& last = history["history"].back();
  EXPECT_EQ(last["told"], 300);
  EXPECT_EQ(last["front_size"], progress["front_size"]);
  EXPECT_DOUBLE_EQ(last["hypervolume"], progress["hypervolume"]["value"]);
  EXPECT_EQ(history["reference_point"], progress["hypervolume"]["reference_point"]);
  double volume = 0;
  for (const json& row : history["history"]) {
    EXPECT_GE(row["hypervolume"], volume);
    volume = row["hypervolume"];
  }

  const std::string sphere =
      "/v1/jobs/" +
      world.finish(R"({"optimizer":"random","evaluator":"sphere","budget":{"trials":300}})");
  const json best = world.get_json(sphere + "/history")["history"].back();
  EXPECT_EQ(best["best"].begin().value(),
            world.get_json(sphere)["progress"]["best"]["objectives"].begin().value()["value"]);
}

// ---- the log -----------------------------------------------------------------------------------

TEST(RestExport, GivesTheRawLogInPages) {
  World world;
  const std::string id = world.finish(two_valleys_job(250));
  const auto log = raw_log(world.backend(), id);
  std::vector<std::pair<EventId, std::string>> exported;
  std::string after;
  do {
    const HttpResponse page = world.get("/v1/jobs/" + id + "/export?limit=100" +
                                        (after.empty() ? "" : "&after=" + after));
    ASSERT_EQ(page.status, 200);
    EXPECT_EQ(page.content_type, "application/x-ndjson");
    std::istringstream lines(page.body);
    std::size_t count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
      const json event = json::parse(line);
      exported.emplace_back(*EventId::parse(event["id"].get<std::string>()), event["event"].dump());
    }
    EXPECT_LE(count, 100U);
    after = header(page, "Paretod-Next");
  } while (!after.empty());
  ASSERT_EQ(exported.size(), log.size());
  for (std::size_t i = 0; i < log.size(); ++i) {
    EXPECT_EQ(exported[i].first, log[i].first);
    EXPECT_EQ(json::parse(exported[i].second), json::parse(log[i].second));
  }
}

// ---- the daemon --------------------------------------------------------------------------------

TEST(RestSystem, ListsWhatItCanRun) {
  World world;
  bool found = false;
  const json optimizers = world.get_json("/v1/optimizers");
  for (const json& optimizer : optimizers["optimizers"]) {
    if (optimizer["name"] != "random") continue;
    found = true;
    EXPECT_TRUE(optimizer["params_schema"]["properties"].contains("fidelity"));
    EXPECT_FALSE(optimizer["summary"].get<std::string>().empty());
  }
  EXPECT_TRUE(found);
  world.evaluator().hold();
  world.submit(two_valleys_job(10));
  world.evaluator().wait_until_held(4);
  found = false;
  const json evaluators = world.get_json("/v1/evaluators");
  for (const json& evaluator : evaluators["evaluators"]) {
    if (evaluator["name"] != "test") continue;
    found = true;
    EXPECT_EQ(evaluator["slots"], 4);
    EXPECT_EQ(evaluator["busy"], 4);
    EXPECT_TRUE(evaluator["space"].is_null());
  }
  EXPECT_TRUE(found);
  world.evaluator().release();
}

TEST(RestSystem, ReadinessFollowsItsChecks) {
  bool ready = true;
  ApiOptions options;
  options.system.readiness = [&ready] {
    return std::vector<ReadinessCheck>{{"store", ready, ready ? "ok" : "gone"},
                                       {"other", true, "ok"}};
  };
  World world(std::move(options));
  EXPECT_EQ(world.get("/readyz").status, 200);
  ready = false;
  const HttpResponse response = world.get("/readyz");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(json::parse(response.body)["checks"]["store"], "gone");
  EXPECT_EQ(world.get("/healthz").status, 200);
}

TEST(RestSystem, MetricsAreWellFormed) {
  ApiOptions options;
  options.system.build = "one \"build\"";
  World world(std::move(options));
  world.finish(two_valleys_job(20));
  const HttpResponse response = world.get("/metrics");
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(response.body.find("paretod_jobs{status=\"succeeded\"} 1\n"), std::string::npos);
  EXPECT_NE(response.body.find("paretod_trials{status=\"ok\"} 20\n"), std::string::npos);
  EXPECT_NE(response.body.find("{build=\"one \\\"build\\\"\"} 1\n"), std::string::npos);
  std::istringstream lines(response.body);
  std::set<std::string> families;
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# HELP ", 0) == 0) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(families.insert(family).second) << family;
    } else if (line.rfind("# TYPE ", 0) == 0) {
      EXPECT_EQ(line.substr(7, family.size()), family);
    } else {
      EXPECT_EQ(line.substr(0, line.find_first_of("{ ")), family);
      EXPECT_GE(std::stod(line.substr(line.rfind(' '))), 0);
    }
  }
}

TEST(RestSystem, AsksForTheToken) {
  ApiOptions options;
  options.token = "correct horse battery";
  World world(std::move(options));
  for (const auto& [operation, path] : concrete(world.api(), "x")) {
    const HttpResponse response = world.send(operation->method, path);
    if (path == "/healthz") {
      EXPECT_EQ(response.status, 200);
      continue;
    }
    EXPECT_EQ(response.status, 401) << path;
    EXPECT_FALSE(header(response, "WWW-Authenticate").empty());
  }
  for (const std::string field :
       {"Bearer", "Bearer ", "Bearer correct horse", "correct horse battery",
        "Basic correct horse battery", "Bearer correct horse battery "}) {
    EXPECT_EQ(world.get("/v1/jobs", {{"authorization", field}}).status, 401) << field;
  }
  for (const std::string field : {"Bearer correct horse battery", "bearer correct horse battery"}) {
    EXPECT_EQ(world.get("/v1/jobs", {{"authorization", field}}).status, 200) << field;
  }
}

TEST(RestSystem, DecidesAboutBodiesFromTheHead) {
  ApiOptions options;
  options.token = "secret";
  World world(std::move(options));
  HttpRequest head;
  head.method = "POST";
  head.path = "/v1/jobs";
  EXPECT_EQ(world.api().before_body(head).refusal->status, 401);
  head.headers = {{"authorization", "Bearer secret"}};
  EXPECT_FALSE(world.api().before_body(head).refusal);
  EXPECT_EQ(world.api().before_body(head).limit, 1024U * 1024U);
  head.path = "/v1/jobs/x:pause";
  EXPECT_EQ(world.api().before_body(head).limit, 64U * 1024U);
}

// ---- the rate of requests ----------------------------------------------------------------------

/// An API behind a token that allows two requests at once and then one every two seconds.
class RestRate : public testing::Test {
 protected:
  static ApiOptions options(RateLimiter::Clock::time_point& now, const std::string& token) {
    ApiOptions options;
    options.token = token;
    options.rate = {.per_second = 0.5, .burst = 2};
    options.now = [&now] { return now; };
    return options;
  }
  /// The status of the refusal, or 0 if the request may go on to its body.
  int ask(const std::string& path, const std::string& token = "secret",
          const std::string& peer = "127.0.0.1") {
    HttpRequest head;
    head.method = "GET";
    head.path = path;
    head.peer = peer;
    if (!token.empty()) head.headers = {{"authorization", "Bearer " + token}};
    const BodyDecision decision = world_.api().before_body(head);
    refusal_ = decision.refusal.value_or(HttpResponse());
    return decision.refusal ? refusal_.status : 0;
  }

  RateLimiter::Clock::time_point now_{1h};
  World world_{options(now_, "secret")};
  HttpResponse refusal_;
};

TEST_F(RestRate, IsThatOfAllHoldersOfTheToken) {
  EXPECT_EQ(ask("/v1/jobs", "secret", "192.0.2.1"), 0);
  EXPECT_EQ(ask("/v1/optimizers", "secret", "192.0.2.2"), 0);
  EXPECT_EQ(ask("/v1/jobs", "secret", "192.0.2.3"), 429);
  EXPECT_EQ(header(refusal_, "Retry-After"), "2");
  EXPECT_EQ(refusal_.content_type, "application/problem+json");
  EXPECT_EQ(json::parse(refusal_.body)["type"], "/problems/too-many-requests");
  now_ += 1001ms;
  EXPECT_EQ(ask("/v1/jobs"), 429);
  EXPECT_EQ(header(refusal_, "Retry-After"), "1");
  now_ += 999ms;
  EXPECT_EQ(ask("/v1/jobs"), 0);
}

TEST_F(RestRate, LeavesMonitorsAlone) {
  for (const std::string path : {"/healthz", "/readyz", "/metrics"}) {
    for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(path), 0) << path;
  }
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask("/healthz", ""), 0);
  EXPECT_EQ(ask("/v1/jobs"), 0);
}

TEST_F(RestRate, OfGuessesIsThatOfTheirAddress) {
  EXPECT_EQ(ask("/v1/jobs", "guess 1", "192.0.2.1"), 401);
  EXPECT_EQ(ask("/metrics", "guess 2", "192.0.2.1"), 401);
  EXPECT_EQ(ask("/readyz", "guess 3", "192.0.2.1"), 429);
  EXPECT_EQ(ask("/v1/jobs", "", "192.0.2.1"), 429);
  EXPECT_EQ(ask("/v1/jobs", "", "192.0.2.2"), 401);
  // Strangers cannot use up what the holders of the token have, on the same address either.
  EXPECT_EQ(ask("/v1/jobs", "secret", "192.0.2.1"), 0);
}

TEST(RestRates, DoNotHoldWithoutAToken) {
  ApiOptions options;
  options.rate = {.per_second = 0.5, .burst = 1};
  World world(std::move(options));
  HttpRequest head;
  head.method = "GET";
  head.path = "/v1/jobs";
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(world.api().before_body(head).refusal);
}

TEST(RestSystem, ShowsJobsWhoseLogsCannotBeRead) {
  MemoryBackend backend;
  ASSERT_TRUE(backend.create("broken-1", {"not an event"}).ok());
  const auto catalog = test_catalog();
  JobManager manager(backend, *catalog, {});
  ASSERT_TRUE(manager.recover().ok());
  const Api api(manager, {});
  HttpRequest request;
  request.method = "GET";
  request.path = "/v1/jobs/broken-1";
  EXPECT_EQ(api.handle(request).status, 500);
  request.path = "/v1/jobs";
  const json page = json::parse(api.handle(request).body);
  EXPECT_EQ(page["unreadable"][0]["id"], "broken-1");
}

// ---- server-sent events ------------------------------------------------------------------------

struct SseEvent {
  std::string id;
  std::string name;
  json data;
};

/// A plain-socket client of one event stream.
class EventClient {
 public:
  EventClient(std::uint16_t port, const std::string& target, const std::string& last_event_id = "",
              const std::string& token = "")
      : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit{std::chrono::seconds(patience).count(), 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    std::string head = "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n";
    if (!last_event_id.empty()) head += "Last-Event-ID: " + last_event_id + "\r\n";
    if (!token.empty()) head += "Authorization: Bearer " + token + "\r\n";
    head += "\r\n";
    EXPECT_EQ(::send(fd_, head.data(), head.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(head.size()));
    status_ = read_until("\r\n\r\n").value_or("").substr(9, 3);
  }
  ~EventClient() { close(fd_); }
  EventClient(const EventClient&) = delete;
  EventClient& operator=(const EventClient&) = delete;

  const std::string& status() const { return status_; }

  /// Nothing at the end of the stream.
  std::optional<SseEvent> next() {
    while (const auto frame = read_until("\n\n")) {
      SseEvent event;
      std::istringstream lines(*frame);
      bool comment = false;
      for (std::string line; std::getline(lines, line);) {
        comment = comment || line.rfind(':', 0) == 0;
        if (line.rfind("id: ", 0) == 0) event.id = line.substr(4);
        if (line.rfind("event: ", 0) == 0) event.name = line.substr(7);
        if (line.rfind("data: ", 0) == 0) event.data = json::parse(line.substr(6));
      }
      if (!comment) return event;
    }
    return std::nullopt;
  }
  std::vector<SseEvent> rest() {
    std::vector<SseEvent> events;
    while (auto event = next()) events.push_back(std::move(*event));
    return events;
  }

 private:
  std::optional<std::string> read_until(std::string_view mark) {
    std::size_t found = 0;
    while ((found = buffer_.find(mark, start_)) == std::string::npos) {
      buffer_.erase(0, start_);
      start_ = 0;
      char bytes[64 * 1024];
      const ssize_t got = recv(fd_, bytes, sizeof bytes, 0);
      if (got <= 0) return std::nullopt;
      buffer_.append(bytes, static_cast<std::size_t>(got));
    }
    std::string out = buffer_.substr(start_, found + mark.size() - start_);
    start_ = found + mark.size();
    return out;
  }

  int fd_;
  std::string buffer_;
  std::size_t start_ = 0;
  std::string status_;
};

std::vector<std::string> ids(const std::vector<SseEvent>& events) {
  std::vector<std::string> list;
  for (const SseEvent& event : events) list.push_back(event.id);
  return list;
}

/// The ids of a job's log after one of them.
std::vector<std::string> log_ids(World& world, const std::string& job, EventId after = {}) {
  std::vector<std::string> list;
  for (const auto& [id, text] : raw_log(world.backend(), job)) {
    if (id > after) list.push_back(id.text());
  }
  return list;
}

class RestEvents : public testing::Test {
 protected:
  void serve(EventFeedOptions options = {}, bool paid = false, ApiOptions api_options = {}) {
    api_options.events = options;
    world_ = std::make_unique<World>(std::move(api_options), two_valleys, paid);
    server_ = std::make_unique<HttpServer>(world_->api().hooks());
    ASSERT_TRUE(server_->listen("127.0.0.1", 0).ok());
    server_->start(2);
  }
  void TearDown() override {
    if (server_) server_->stop();
  }
  EventId top_of(const std::string& job) {
    return world_->manager().find(job)->with_state([](JobState& state) { return state.top(); });
  }
  std::string events_of(const std::string& job) { return "/v1/jobs/" + job + "/events"; }

  std::unique_ptr<World> world_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(RestEvents, FollowAJobFromItsFirstEventToItsLast) {
  serve();
  world_->evaluator().hold();
  const std::string id = world_->submit(two_valleys_job(20));
  EventClient client(server_->port(), events_of(id) + "?after=0-0");
  ASSERT_EQ(client.status(), "200");
  world_->evaluator().release();
  const auto events = client.rest();
  EXPECT_EQ(ids(events), log_ids(*world_, id));
  ASSERT_GT(events.size(), 3U);
  EXPECT_EQ(events[0].name, "owner");
  EXPECT_EQ(events[1].name, "created");
  EXPECT_EQ(events[1].data["spec"]["name"], "valleys");
  EXPECT_EQ(events.back().name, "finished");
  EXPECT_EQ(events.back().data["status"], "succeeded");
  std::size_t told = 0;
  for (const SseEvent& event : events) {
    if (event.name == "asked") {
      EXPECT_TRUE(event.data["candidate"].contains("x"));
    }
    if (event.name != "told") continue;
    ++told;
    EXPECT_EQ(event.data["outcome"]["status"], "ok");
  }
  EXPECT_EQ(told, 20U);
}

TEST_F(RestEvents, StartNowWithoutAnId) {
  serve({}, /*paid=*/true);
  world_->evaluator().hold();
  const std::string id = world_->submit(two_valleys_job(20));
  // The owner, the spec, and four trials that are asked, started and held.
  ASSERT_TRUE(eventually([&] { return top_of(id).number == 10; }));
  EventClient client(server_->port(), events_of(id));
  ASSERT_EQ(client.status(), "200");
  world_->evaluator().release();
  const auto events = client.rest();
  EXPECT_EQ(ids(events), log_ids(*world_, id, {1, 10}));
}

TEST_F(RestEvents, ResumeInTheMiddleOfAFastJob) {
  serve();
  const std::string id = world_->submit(two_valleys_job(20'000));
  std::vector<std::string> seen;
  std::string last = "0-0";
  bool finished = false;
  // Each connection is dropped after some hundred events.
  for (int connection = 0; !finished; ++connection) {
    EventClient client(server_->port(), events_of(id) + "?after=0-0", last);
    ASSERT_EQ(client.status(), "200");
    for (int i = 0; i < 700 + 100 * connection; ++i) {
      const auto event = client.next();
      ASSERT_TRUE(event) << "after " << last;
      ASSERT_NE(event->name, "reset");
      seen.push_back(event->id);
      last = event->id;
      finished = event->name == "finished";
      if (finished) break;
    }
  }
  EXPECT_EQ(seen, log_ids(*world_, id));
}

TEST_F(RestEvents, ReachManyClientsWhileTheJobRuns) {
  serve();
  const std::string id = world_->submit(two_valleys_job(3'000));
  constexpr std::size_t clients = 20;
  ASSERT_TRUE(eventually([&] { return top_of(id).number >= clients; }));
  std::vector<std::vector<SseEvent>> received(clients);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < clients; ++i) {
    threads.emplace_back([&, i] {
      EventClient client(server_->port(), events_of(id) + "?after=1-" + std::to_string(i));
      received[i] = client.rest();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < clients; ++i) {
    EXPECT_EQ(ids(received[i]), log_ids(*world_, id, {1, i})) << i;
  }
}

// Every client falls behind at once, again and again: small pages, a tiny inbox, no lag allowed.
TEST_F(RestEvents, LoseNothingWhenEveryoneLags) {
  serve({.gather = 1ms, .page_bytes = 2'000, .lag_bytes = 1'000, .inbox_events = 50});
  const std::string id = world_->submit(two_valleys_job(5'000));
  std::vector<std::vector<SseEvent>> received(4);
  std::vector<std::thread> threads;
  for (auto& events : received) {
    threads.emplace_back([&] {
      EventClient client(server_->port(), events_of(id) + "?after=0-0");
      events = client.rest();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& events : received) EXPECT_EQ(ids(events), log_ids(*world_, id));
}

TEST_F(RestEvents, CatchUpWithALongLogInBoundedPieces) {
  serve();
  const std::string id = world_->finish(two_valleys_job(20'000));
  EventClient client(server_->port(), events_of(id), "1-1");
  const auto events = client.rest();
  EXPECT_EQ(ids(events), log_ids(*world_, id, {1, 1}));
  EXPECT_EQ(server_->counters().event_streams_reset, 0U);
}

TEST_F(RestEvents, ForgetClientsThatLeave) {
  serve();
  world_->evaluator().hold();
  const std::string id = world_->submit(two_valleys_job(10));
  const auto clients = [&](const std::string& count) {
    return world_->get("/metrics").body.find("paretod_event_clients " + count + "\n") !=
           std::string::npos;
  };
  {
    EventClient one(server_->port(), events_of(id));
    EventClient two(server_->port(), events_of(id));
    EXPECT_TRUE(clients("2"));
  }
  EXPECT_TRUE(eventually([&] { return clients("0"); }));
  world_->evaluator().release();
}

TEST_F(RestEvents, BeginWithResetAfterAnIdFromTheFuture) {
  serve();
  world_->evaluator().hold();
  const std::string id = world_->submit(two_valleys_job(10));
  EventClient client(server_->port(), events_of(id), "7-1");
  const auto first = client.next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->name, "reset");
  const auto top = EventId::parse(first->id);
  ASSERT_TRUE(top);
  world_->evaluator().release();
  const auto events = client.rest();
  EXPECT_EQ(ids(events), log_ids(*world_, id, *top));
}

TEST_F(RestEvents, OfAFinishedJobAreItsLastOneOrNone) {
  serve();
  const std::string id = world_->finish(two_valleys_job(10));
  EventClient late(server_->port(), events_of(id));
  const auto events = late.rest();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].name, "finished");
  EventClient done(server_->port(), events_of(id), events[0].id);
  EXPECT_EQ(done.status(), "204");
}

TEST_F(RestEvents, CountOnceAgainstTheRateOfRequests) {
  ApiOptions limited;
  limited.token = "secret";
  limited.rate = {.per_second = 0.001, .burst = 2};
  serve({}, /*paid=*/false, std::move(limited));
  world_->evaluator().hold();
  const auto created =
      world_->post("/v1/jobs", two_valleys_job(500), {{"authorization", "Bearer secret"}});
  const std::string id = json::parse(created.body)["id"];
  EventClient first(server_->port(), events_of(id), "", "secret");
  EventClient second(server_->port(), events_of(id), "", "secret");
  EventClient third(server_->port(), events_of(id), "", "secret");
  EXPECT_EQ(first.status(), "200");
  EXPECT_EQ(second.status(), "200");
  EXPECT_EQ(third.status(), "429");
  EXPECT_EQ(server_->counters().responses_429, 1U);
  world_->evaluator().release();
  // Events are no requests: all of them come.
  const auto events = first.rest();
  EXPECT_GT(events.size(), 900U);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().name, "finished");
}

TEST_F(RestEvents, EndWithTheApi) {
  serve();
  world_->evaluator().hold();
  const std::string id = world_->submit(two_valleys_job(10));
  HttpRequest request;
  request.method = "GET";
  ASSERT_TRUE(parse_target(events_of(id), request));
  std::shared_ptr<EventStream> stream;
  {
    const Api other(world_->manager(), {});
    stream = other.handle(request).stream;
    ASSERT_TRUE(stream);
    EXPECT_FALSE(stream->ended());
  }
  EXPECT_TRUE(stream->ended());
  world_->evaluator().release();
}

}  // namespace
}  // namespace paretod
