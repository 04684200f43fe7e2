#include "daemon/cli/cli.hpp"

#include <gtest/gtest.h>

#include <pthread.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "daemon/cli/json_view.hpp"
#include "tests/functional/fake_http_server.hpp"

namespace paretod {
namespace {

using cli::Json;
using testing::FakeHttpServer;
using testing::FakeReply;
using testing::FakeRequest;

constexpr const char* job_id = "lcsc-digits-7k3fq2";
const std::string job_target = std::string("/v1/jobs/") + job_id;

Json job(const std::string& status, int told, const Json& report = nullptr) {
  return {{"id", job_id},
          {"status", status},
          {"status_reason", status == "failed" ? "every evaluation failed" : ""},
          {"spec", {{"objectives", {{{"name", "fd"}, {"goal", "minimize"}}}}}},
          {"progress",
           {{"told", told},
            {"budget_trials", 1500},
            {"parallelism", 2},
            {"running_seconds", 61.5},
            {"front_size", told > 0 ? 1 : 0},
            {"best", {{"trial", 17}, {"objectives", {{"fd", {{"value", 0.41}}}}}}}}},
          {"report", report}};
}

Json report() {
  return Json::parse(R"({"stop_reason":"budget","quantities":["fd"],"rows":[
    {"name":"found","trial":1501,"estimates":{"fd":{"mean":0.3771,"stderr":0.0021}},
      "difference":{"fd":{"mean":0}}},
    {"name":"last","trial":1502,"estimates":{"fd":{"mean":0.4763,"stderr":0.0023}},
     "difference":{"fd":{"mean":0.0992,"stderr":0.0011}}}]})");
}

Json front() {
  return Json::parse(R"({"job":"lcsc-digits-7k3fq2","status":"running","source":"measured",
    "objectives":[{"name":"fd","goal":"minimize"}],"trials":705,"front_size":1,"recommended":null,
    "points":[{"trial":17,"candidate":{"x":0.5},"objectives":{"fd":{"value":0.412345,
      "stderr":0.0051}},"tag":""}]})");
}

FakeReply json_reply(const Json& document, int status = 200) {
  return {
      .status = status, .body = document.dump(), .headers = {{"Content-Type", "application/json"}}};
}

FakeReply problem(int status, const std::string& detail, const Json& problems = Json::array()) {
  return json_reply({{"type", "/problems/x"},
                     {"title", "X"},
                     {"status", status},
                     {"detail", detail},
                     {"problems", problems}},
                    status);
}

/// A daemon with one job; tests replace what they are about.
class CliTest : public ::testing::Test {
 protected:
  CliTest() : server_([this](const FakeRequest& request) { return answer(request); }) {
    folder_ = std::filesystem::temp_directory_path() /
              ("paretod-cli-" + std::to_string(getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directory(folder_);
    environment_["PARETOD_URL"] = server_.url();
  }
  ~CliTest() override { std::filesystem::remove_all(folder_); }

  int run(const std::vector<std::string>& words) {
    std::istringstream in(input_);
    std::ostringstream out;
    std::ostringstream err;
    cli::Console console{.in = in,
                         .out = out,
                         .err = err,
                         .terminal = terminal_,
                         .width = [] { return 100; },
                         .environment = [this](const char* name) -> std::optional<std::string> {
                           const auto found = environment_.find(name);
                           if (found == environment_.end()) return {};
                           return found->second;
                         },
                         .pace = {.poll_s = 0.01, .plain_line_s = 0, .patience_s = patience_s_}};
    const int status = run_cli(words, local_, console);
    out_ = out.str();
    err_ = err.str();
    return status;
  }

  void on(const std::string& method, const std::string& target, FakeReply reply) {
    replies_[method + " " + target] = std::move(reply);
  }

  std::string write_file(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path) << text;
    return path;
  }

  static std::string read_file(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  /// Requests to the daemon, as "METHOD target".
  [[nodiscard]] std::vector<std::string> asked() const {
    std::vector<std::string> lines;
    for (const FakeRequest& request : server_.requests()) {
      lines.push_back(request.method + " " + request.target);
    }
    return lines;
  }

  std::function<FakeReply(const FakeRequest&)> script_;  ///< asked first, if set
  std::map<std::string, std::string> environment_;
  std::string input_;
  bool terminal_ = false;
  double patience_s_ = 300;
  std::filesystem::path folder_;
  std::string out_;
  std::string err_;
  LocalCommands local_{"0.1.0", [](const ServeOptions&) { return 0; },
                       [](const std::string&) { return 0; }, [](const WorkOptions&) { return 0; }};

 private:
  FakeReply answer(const FakeRequest& request) {
    if (script_) return script_(request);
    const auto found = replies_.find(request.method + " " + request.target);
    if (found != replies_.end()) return found->second;
    if (request.target == job_target) return json_reply(job("running", 705));
    return problem(404, "there is no such thing");
  }

  std::map<std::string, FakeReply> replies_;

 protected:
  FakeHttpServer server_;  // last: its threads use the rest
};

TEST_F(CliTest, VersionAndHelpNeedNoDaemon) {
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_EQ(out_, "paretod 0.1.0\n");
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_NE(out_.find("submit FILE"), std::string::npos);
  EXPECT_NE(out_.find("worker"), std::string::npos);
  EXPECT_EQ(run({"watch", "--help"}), 0);
  EXPECT_TRUE(asked().empty());
}

TEST_F(CliTest, AWrongCommandLineIsTwo) {
  EXPECT_EQ(run({"jbos"}), 2);
  EXPECT_EQ(err_, "paretod: there is no command \"jbos\"; did you mean jobs?\n");
  EXPECT_EQ(out_, "");
  EXPECT_EQ(run({"jobs", "--url", "ftp://x"}), 2);
  EXPECT_EQ(run({"jobs", "--token-file", folder_ / "none"}), 2);
}

TEST_F(CliTest, NoDaemonIsThree) {
  std::string url;
  {
    url = FakeHttpServer([](const FakeRequest&) { return FakeReply{}; }).url();
  }
  EXPECT_EQ(run({"jobs", "--url", url + "/"}), 3);
  EXPECT_EQ(err_, "paretod: no paretod answers at " + url +
                      " (is it running? start it with `paretod serve`): connection refused\n");
  EXPECT_EQ(run({"watch", "last", "--url", url}), 3);
}

TEST_F(CliTest, SomethingElseAnswers) {
  on("GET", "/v1/evaluators", {.body = "<html>"});
  EXPECT_EQ(run({"evaluators"}), 1);
  EXPECT_NE(err_.find("not with JSON; is it a paretod?"), std::string::npos);
}

TEST_F(CliTest, ServeGetsItsOptions) {
  ServeOptions got;
  local_.serve = [&got](const ServeOptions& options) {
    got = options;
    return 7;
  };
  EXPECT_EQ(run({"serve", "--config", "c.json", "--port", "0", "--quiet"}), 7);
  EXPECT_EQ(got.config_file, "c.json");
  EXPECT_EQ(got.port, 0);
  EXPECT_TRUE(got.quiet);
  EXPECT_EQ(got.state_dir, std::nullopt);
  EXPECT_EQ(run({"serve"}), 7);
  EXPECT_EQ(got.port, std::nullopt);
  EXPECT_EQ(run({"serve", "--port", "65536"}), 2);
}

TEST_F(CliTest, WorkerGetsItsOptions) {
  WorkOptions got;
  local_.work = [&got](const WorkOptions& options) {
    got = options;
    return 5;
  };
  EXPECT_EQ(run({"worker", "--evaluator", "digits", "--daemon", "search:1/", "--slots", "3",
                 "--state", "/s", "--grace", "0", "--idle-exit", "60", "--job", "j"}),
            5);
  EXPECT_EQ(got.url, "http://search:1");
  EXPECT_EQ(got.evaluator, "digits");
  EXPECT_EQ(got.slots, 3U);
  EXPECT_EQ(got.state_dir, "/s");
  EXPECT_EQ(got.grace_s, 0);
  EXPECT_EQ(got.idle_exit_s, 60);
  EXPECT_EQ(got.job, "j");
  EXPECT_EQ(got.name, std::nullopt);
  EXPECT_EQ(run({"worker", "--evaluator", "digits"}), 5);
  EXPECT_EQ(got.grace_s, 30);
  EXPECT_EQ(got.idle_exit_s, std::nullopt);
  EXPECT_EQ(run({"worker"}), 2);
  EXPECT_NE(err_.find("needs --evaluator NAME"), std::string::npos);
  EXPECT_EQ(run({"worker", "--evaluator", "digits", "--slots", "0"}), 2);
}

TEST_F(CliTest, ReplayGetsItsFile) {
  std::string got;
  local_.replay = [&got](const std::string& file) {
    got = file;
    return 1;
  };
  EXPECT_EQ(run({"replay", "log.jsonl"}), 1);
  EXPECT_EQ(got, "log.jsonl");
  EXPECT_EQ(run({"replay"}), 2);
}

TEST_F(CliTest, SubmitSendsTheFileAsItIs) {
  const std::string spec = "{\"optimizer\": \"random\",\n \"evaluator\": \"zdt1\"}\n";
  on("POST", "/v1/jobs", json_reply(job("queued", 0), 201));
  EXPECT_EQ(run({"submit", write_file("job.json", spec), "--idempotency-key", "k1"}), 0) << err_;
  EXPECT_EQ(out_,
            "submitted lcsc-digits-7k3fq2\nWatch it with: paretod watch lcsc-digits-7k3fq2\n");
  const auto requests = server_.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].body, spec);
  EXPECT_EQ(requests[0].header("content-type"), "application/json");
  EXPECT_EQ(requests[0].header("idempotency-key"), "k1");
  EXPECT_EQ(requests[0].header("user-agent"), "paretod/0.1.0");
  EXPECT_EQ(requests[0].header("authorization"), "");

  on("POST", "/v1/jobs", json_reply(job("running", 5), 200));
  EXPECT_EQ(run({"submit", "-", "--url", server_.url()}), 2) << "standard input is empty";
  input_ = spec;
  EXPECT_EQ(run({"submit", "-", "--url", server_.url()}), 0);
  EXPECT_NE(out_.find("already submitted: lcsc"), std::string::npos);
  EXPECT_NE(out_.find(" --url " + server_.url() + "\n"), std::string::npos);
}

TEST_F(CliTest, SubmitOverridesSeedTrialsAndName) {
  on("POST", "/v1/jobs", json_reply(job("queued", 0), 201));
  input_ = R"({"optimizer":"random","evaluator":"zdt1","budget":{"trials":5,"wall_s":9}})";
  EXPECT_EQ(run({"submit", "-", "--seed", "18446744073709551615", "--trials", "70", "--name", "n"}),
            0);
  EXPECT_EQ(Json::parse(server_.requests().at(0).body),
            Json::parse(R"({"budget":{"trials":70,"wall_s":9},"evaluator":"zdt1","name":"n",
                            "optimizer":"random","seed":18446744073709551615})"));
}

TEST_F(CliTest, SubmitRefusesWhatIsNoJsonBeforeAsking) {
  EXPECT_EQ(run({"submit", folder_ / "none.json"}), 2);
  EXPECT_EQ(run({"submit", folder_}), 2);
  EXPECT_EQ(run({"submit", write_file("bad.json", "{\"a\":}")}), 2);
  EXPECT_NE(err_.find("bad.json: "), std::string::npos);
  EXPECT_NE(err_.find("line 1, column"), std::string::npos);
  EXPECT_EQ(run({"submit", write_file("list.json", "[1]")}), 2);
  EXPECT_TRUE(asked().empty());
}

TEST_F(CliTest, ProblemsOfASpecAreShownOneByOne) {
  on("POST", "/v1/jobs",
     problem(422, "the job spec is not valid",
             {{{"pointer", "/space/0/low"}, {"message", "has to be below high"}},
              {{"pointer", ""}, {"message", "has no \x1b[1mevaluator"}}}));
  input_ = "{}";
  EXPECT_EQ(run({"submit", "-"}), 1);
  EXPECT_EQ(err_,
            "paretod: the job spec is not valid\n"
            "  /space/0/low: has to be below high\n"
            "  (document): has no ?[1mevaluator\n");
}

TEST_F(CliTest, TheTokenIsSentAndAskedFor) {
  environment_["PARETOD_TOKEN_FILE"] = write_file("token", "s3cret \n");
  on("GET", "/v1/evaluators", json_reply({{"evaluators", Json::array()}}));
  EXPECT_EQ(run({"evaluators"}), 0);
  EXPECT_EQ(server_.requests().at(0).header("authorization"), "Bearer s3cret");
  on("GET", "/v1/evaluators", problem(401, "a token is needed"));
  EXPECT_EQ(run({"evaluators"}), 1);
  EXPECT_NE(err_.find("--token-file"), std::string::npos);
  EXPECT_EQ(err_.find("s3cret"), std::string::npos);
}

TEST_F(CliTest, AJobIsFoundByIdBeginningOrAge) {
  const Json two = {{"jobs", {{{"id", "lcsc-digits-7k3fq2"}}, {{"id", "lcsc-toy-1"}}}}};
  on("GET", "/v1/jobs?page_size=1", json_reply(two));
  on("GET", "/v1/jobs?page_size=500", json_reply(two));
  on("POST", job_target + ":pause", json_reply(job("paused", 705)));
  for (const char* name : {job_id, "lcsc-d", "last"}) {
    EXPECT_EQ(run({"pause", name}), 0) << name << err_;
    EXPECT_EQ(out_, "lcsc-digits-7k3fq2 is now paused\n");
  }
  EXPECT_EQ(run({"pause", "lcsc"}), 1);
  EXPECT_EQ(err_, "paretod: \"lcsc\" is the beginning of 2 jobs: lcsc-digits-7k3fq2, lcsc-toy-1\n");
  EXPECT_EQ(run({"pause", "zdt"}), 1);
  EXPECT_EQ(err_, "paretod: no job is called \"zdt\"\n");
  EXPECT_EQ(run({"pause", "../evaluators"}), 1);
  EXPECT_EQ(err_, "paretod: \"../evaluators\" is no job id\n");
  on("GET", "/v1/jobs?page_size=1", json_reply({{"jobs", Json::array()}}));
  EXPECT_EQ(run({"pause", "last"}), 1);
  EXPECT_EQ(err_, "paretod: there is no job yet\n");
}

TEST_F(CliTest, VerbsOfAJob) {
  for (const char* verb : {"pause", "resume", "cancel"}) {
    on("POST", job_target + ":" + verb, json_reply(job("running", 1)));
    EXPECT_EQ(run({verb, job_id}), 0) << verb;
    EXPECT_EQ(server_.requests().back().target, job_target + ":" + verb);
    EXPECT_EQ(server_.requests().back().body, "{}");
  }
  on("POST", job_target + ":resume", problem(409, "the job is succeeded"));
  EXPECT_EQ(run({"resume", job_id}), 1);
  EXPECT_EQ(err_, "paretod: the job is succeeded\n");
}

TEST_F(CliTest, ExtendNeedsSomethingToExtend) {
  on("POST", job_target + ":extend", json_reply(job("running", 705)));
  EXPECT_EQ(run({"extend", job_id, "--trials", "1500", "--parallelism", "2"}), 0);
  EXPECT_EQ(server_.requests().back().body, R"({"budget":{"trials":1500},"parallelism":2})");
  EXPECT_EQ(out_, "lcsc-digits-7k3fq2 is now running, with 1,500 trials in all, 2 at a time\n");
  EXPECT_EQ(run({"extend", job_id}), 2);
}

TEST_F(CliTest, JsonIsPassedThrough) {
  const std::string body = "{\"z\":1,  \"a\":[0.10, 1e-7]}";
  on("GET", job_target, {.body = body});
  EXPECT_EQ(run({"job", job_id, "--json"}), 0);
  EXPECT_EQ(out_, body + "\n");
  on("GET", job_target + "/front?format=json&limit=1000", {.body = body + "\n"});
  EXPECT_EQ(run({"front", job_id, "--json"}), 0);
  EXPECT_EQ(out_, body + "\n");
  on("GET", "/v1/optimizers", {.body = R"({"optimizers":[{"name":"b","revision":3,"a":1}]})"});
  EXPECT_EQ(run({"optimizers", "b", "--json"}), 0);
  EXPECT_EQ(out_, "{\"name\":\"b\",\"revision\":3,\"a\":1}\n");
}

TEST_F(CliTest, FrontAsTableAndCsv) {
  on("GET", job_target + "/front?limit=1000", json_reply(front()));
  EXPECT_EQ(run({"front", job_id}), 0) << err_;
  EXPECT_NE(out_.find("   17  0.4123 ± 0.0051  x=0.5\n"), std::string::npos);
  on("GET", job_target + "/front?format=csv&limit=3", {.body = "trial,x\r\n17,0.5\r\n"});
  EXPECT_EQ(run({"front", job_id, "--format", "csv", "--limit", "3"}), 0);
  EXPECT_EQ(out_, "trial,x\r\n17,0.5\r\n");
  on("GET", job_target + "/front?limit=10000", json_reply(front()));
  EXPECT_EQ(run({"front", job_id, "--limit", "0"}), 0) << err_;
}

TEST_F(CliTest, FrontPassesQuestionsOnAndShowsTheChosenPointFirst) {
  const std::string question =
      "&preference=fd%3D0.7%2Ctime%3A0.3&method=weighted_sum&where=acc%3E%3D0.8&where=fd%3C1"
      "&confidence=0.9&at=5&knee=true";
  Json answer = front();
  answer["at"] = 5;
  answer["chosen"] = answer["points"][0];
  answer["chosen"]["why"] = {{"sentence", "Trial 17 is the one; next is trial 3 with 0.5."}};
  on("GET", job_target + "/front?limit=1000" + question, json_reply(answer));
  const std::vector<std::string> words = {
      "front",   job_id,     "--preference", "fd=0.7,time:0.3", "--method", "weighted_sum",
      "--where", "acc>=0.8", "--where=fd<1", "--confidence",    "0.9",      "--at",
      "5",       "--knee"};
  EXPECT_EQ(run(words), 0) << err_;
  const auto chosen = out_.find(
      "chosen: trial 17, fd 0.4123 ± 0.0051\n        x=0.5\n"
      "Trial 17 is the one; next is trial 3 with 0.5.\n");
  ASSERT_NE(chosen, std::string::npos) << out_;
  EXPECT_LT(chosen, out_.find("trial  fd (min)"));
  EXPECT_NE(out_.find("as of trial 5"), std::string::npos);

  on("GET", job_target + "/front?format=csv&limit=1000&reference_point=fd%3A1",
     {.body = "trial\r\n"});
  EXPECT_EQ(run({"front", job_id, "--csv", "--reference-point", "fd:1"}), 0) << err_;
  EXPECT_EQ(out_, "trial\r\n");

  on("GET", job_target + "/front?limit=1000&where=f9%3C1",
     problem(400, "The query is not valid: where.",
             {{{"pointer", "/query/where"}, {"message", "there is no objective \"f9\""}}}));
  EXPECT_EQ(run({"front", job_id, "--where", "f9<1"}), 1);
  EXPECT_NE(err_.find("there is no objective \"f9\""), std::string::npos);
  EXPECT_EQ(run({"front", job_id, "--method", "best"}), 2);
  EXPECT_EQ(run({"front", "--help"}), 0);
  for (const char* option : {"--preference", "--method", "--reference-point", "--knee", "--where",
                             "--at", "--confidence", "--csv", "--limit"}) {
    EXPECT_NE(out_.find(std::string("paretod front last ")), std::string::npos);
    EXPECT_NE(out_.find(option, out_.find("Examples:")), std::string::npos) << option;
  }
}

TEST_F(CliTest, ListsAreReadPageByPage) {
  const auto page = [](int from, int to) {
    Json document = {{"trials", Json::array()}};
    for (int i = from; i <= to; ++i) {
      document["trials"].push_back({{"number", i}, {"status", "ok"}});
    }
    if (to < 700) document["next_page_token"] = "t/" + std::to_string(to);
    return json_reply(document);
  };
  const std::string trials = job_target + "/trials";
  on("GET", trials + "?page_size=500&status=ok", page(1, 500));
  on("GET", trials + "?page_size=500&status=ok&page_token=t%2F500", page(501, 700));
  on("GET", trials + "?page_size=100&status=ok&page_token=t%2F500", page(501, 600));
  on("GET", trials + "?page_size=50", page(1, 50));
  EXPECT_EQ(run({"trials", job_id, "--status", "ok", "--limit", "0", "--json"}), 0) << err_;
  EXPECT_EQ(Json::parse(out_)["trials"].size(), 700u);
  EXPECT_EQ(run({"trials", job_id, "--status", "ok", "--limit", "600", "--json"}), 0) << err_;
  EXPECT_EQ(Json::parse(out_)["trials"].size(), 600u);
  EXPECT_EQ(run({"trials", job_id}), 0) << err_;
  EXPECT_NE(out_.find("(the first 50; --limit 0 shows all)"), std::string::npos);
  on("GET", "/v1/jobs?page_size=500&status=paused", json_reply({{"jobs", Json::array()}}));
  EXPECT_EQ(run({"jobs", "--status", "paused"}), 0) << err_;
  EXPECT_EQ(out_, "no jobs\n");
  EXPECT_EQ(run({"jobs", "--status", "pausd"}), 2);
}

FakeReply too_many_requests(const std::string& retry_after) {
  FakeReply reply =
      json_reply({{"type", "/problems/too-many-requests"}, {"detail", "slower"}}, 429);
  reply.headers.emplace_back("Retry-After", retry_after);
  return reply;
}

TEST_F(CliTest, WaitsWhenItAsksTooFast) {
  int refusals = 2;
  script_ = [&](const FakeRequest&) {
    if (refusals-- > 0) return too_many_requests("0");
    return json_reply({{"jobs", Json::array()}});
  };
  EXPECT_EQ(run({"jobs"}), 0) << err_;
  EXPECT_EQ(out_, "no jobs\n");
  EXPECT_EQ(asked().size(), 3U);
}

TEST_F(CliTest, DoesNotWaitForEverWhenItAsksTooFast) {
  on("GET", "/v1/jobs?page_size=500", too_many_requests("0"));
  EXPECT_EQ(run({"jobs"}), 1);
  EXPECT_EQ(err_, "paretod: slower\n");
  EXPECT_EQ(asked().size(), 31U);
  on("GET", "/v1/jobs?page_size=500", too_many_requests("3600"));
  EXPECT_EQ(run({"jobs"}), 1);
  EXPECT_EQ(asked().size(), 32U);
}

TEST_F(CliTest, DoesNotWaitForOtherLimits) {
  FakeReply full = problem(429, "there are as many jobs as may run");
  full.headers.emplace_back("Retry-After", "0");
  on("GET", "/v1/jobs?page_size=500", full);
  EXPECT_EQ(run({"jobs"}), 1);
  EXPECT_EQ(asked().size(), 1U);
}

TEST_F(CliTest, AnUnknownOptimizer) {
  on("GET", "/v1/optimizers",
     json_reply({{"optimizers", {{{"name", "lcsc"}}, {{"name", "random"}}}}}));
  EXPECT_EQ(run({"optimizers", "lcs"}), 1);
  EXPECT_EQ(err_, "paretod: no optimizer is called \"lcs\"; known: lcsc, random\n");
}

TEST_F(CliTest, ExportFollowsTheLogToItsEnd) {
  const std::string target = job_target + "/export";
  on("GET", target, {.body = "{\"id\":\"1-1\"}\n", .headers = {{"Paretod-Next", "1-1"}}});
  on("GET", target + "?after=1-1", {.body = "{\"id\":\"1-2\"}\n"});
  EXPECT_EQ(run({"export", job_id}), 0) << err_;
  EXPECT_EQ(out_, "{\"id\":\"1-1\"}\n{\"id\":\"1-2\"}\n");
  const std::filesystem::path file = folder_ / "log.jsonl";
  EXPECT_EQ(run({"export", job_id, "-o", file}), 0) << err_;
  EXPECT_EQ(read_file(file), "{\"id\":\"1-1\"}\n{\"id\":\"1-2\"}\n");
  EXPECT_EQ(out_, "wrote 2 events to " + file.string() + " (26 B)\n");
}

TEST_F(CliTest, AnExportThatBreaksOffLeavesNoFile) {
  const std::string target = job_target + "/export";
  on("GET", target, {.body = "{\"id\":\"1-1\"}\n", .headers = {{"Paretod-Next", "1-1"}}});
  on("GET", target + "?after=1-1", {.body = "{\"id\":", .missing_bytes = 7});
  EXPECT_EQ(run({"export", job_id, "-o", folder_ / "log.jsonl"}), 3);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  on("GET", target + "?after=1-1", problem(500, "the log cannot be read"));
  EXPECT_EQ(run({"export", job_id, "-o", folder_ / "log.jsonl"}), 1);
  EXPECT_EQ(err_, "paretod: the log cannot be read\n");
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EXPECT_EQ(run({"export", job_id, "-o", folder_ / "no" / "log.jsonl"}), 2);
}

/// Answers the job's own resource from a list, then repeats the last.
std::function<FakeReply(const FakeRequest&)> one_by_one(std::vector<FakeReply> replies) {
  return [replies = std::move(replies), next = std::size_t{0}](const FakeRequest& request) mutable {
    if (request.target != job_target) return json_reply(front());
    return replies[std::min(next++, replies.size() - 1)];
  };
}

TEST_F(CliTest, WatchFollowsAJobToItsReport) {
  script_ =
      one_by_one({json_reply(job("queued", 0)), json_reply(job("queued", 0)),
                  json_reply(job("running", 700)), json_reply(job("succeeded", 1500, report()))});
  EXPECT_EQ(run({"watch", job_id}), 0) << err_;
  EXPECT_EQ(out_,
            "lcsc-digits-7k3fq2 queued 0/1,500 (0%), fd 0.41\n"
            "lcsc-digits-7k3fq2 running 700/1,500 (46%), fd 0.41\n"
            "lcsc-digits-7k3fq2 succeeded 1,500/1,500 (100%), fd 0.41\n"
            "lcsc-digits-7k3fq2 succeeded after 1,500 trials and 1 m 02 s\n"
            "\n"
            "                    fd       minus found\n"
            "─────  ───────────────  ────────────────\n"
            "found  0.3771 ± 0.0021\n"
            "last   0.4763 ± 0.0023  +0.0992 ± 0.0011\n"
            "\n"
            "found against last: 20.8% lower in fd\n"
            "\n"
            "Where to look next:\n"
            "  paretod front lcsc-digits-7k3fq2\n"
            "  paretod trials lcsc-digits-7k3fq2\n"
            "  paretod export lcsc-digits-7k3fq2 -o lcsc-digits-7k3fq2.jsonl\n");
}

TEST_F(CliTest, WatchNamesTheSurrogateWhereThereIsOne) {
  script_ = [](const FakeRequest& request) {
    if (request.target == job_target) return json_reply(job("succeeded", 1500, report()));
    if (request.target == job_target + "/surrogate") return json_reply({{"source", "predicted"}});
    return json_reply(front());
  };
  EXPECT_EQ(run({"watch", job_id}), 0) << err_;
  EXPECT_NE(out_.find("  paretod surrogate lcsc-digits-7k3fq2\n"
                      "  paretod front lcsc-digits-7k3fq2 --predicted\n"
                      "  paretod verify lcsc-digits-7k3fq2 --count 4 --wait\n"),
            std::string::npos)
      << out_;
}

TEST_F(CliTest, WatchShowsTheFrontWhereThereIsNoReport) {
  script_ = one_by_one({json_reply(job("cancelled", 700))});
  EXPECT_EQ(run({"watch", job_id}), 1);
  EXPECT_NE(out_.find("0.4123 ± 0.0051  x=0.5"), std::string::npos);
  EXPECT_EQ(err_, "lcsc-digits-7k3fq2 cancelled after 700 trials and 1 m 02 s\n");
}

TEST_F(CliTest, WatchSaysWhyAJobFailed) {
  script_ = one_by_one({json_reply(job("failed", 0))});
  EXPECT_EQ(run({"watch", job_id}), 1);
  EXPECT_EQ(err_,
            "lcsc-digits-7k3fq2 failed after 0 trials and 1 m 02 s: every evaluation failed\n");
}

TEST_F(CliTest, WatchRedrawsOneLineOnATerminal) {
  terminal_ = true;
  script_ = one_by_one({json_reply(job("running", 0)), json_reply(job("running", 700)),
                        json_reply(job("succeeded", 1500, report()))});
  EXPECT_EQ(run({"watch", job_id}), 0);
  EXPECT_EQ(out_.find("\rlcsc-digits-7k3fq2  "), 0u);
  EXPECT_NE(out_.find("46%"), std::string::npos);
  EXPECT_NE(out_.find("\x1b[K\nlcsc-digits-7k3fq2 succeeded after"), std::string::npos);
  EXPECT_EQ(out_.substr(0, out_.find(" succeeded after")).find('\n'), out_.find('\n'));
}

TEST_F(CliTest, WatchWithJsonPrintsTheFinishedJobOnly) {
  on("POST", "/v1/jobs", json_reply(job("queued", 0), 201));
  const Json finished = job("succeeded", 1500, report());
  script_ = [&, next = one_by_one({json_reply(job("running", 5)), json_reply(finished)})](
                const FakeRequest& request) mutable {
    return request.method == "POST" ? json_reply(job("queued", 0), 201) : next(request);
  };
  input_ = "{}";
  EXPECT_EQ(run({"submit", "-", "--watch", "--json"}), 0) << err_;
  EXPECT_EQ(out_, finished.dump() + "\n");
}

TEST_F(CliTest, WatchOutlivesARestartOfTheDaemon) {
  const FakeReply gone{.body = "", .hang_up = true};
  script_ = one_by_one({json_reply(job("running", 5)), json_reply(job("running", 5)), gone, gone,
                        gone, gone, gone, problem(503, "starting"), json_reply(job("running", 9)),
                        json_reply(job("succeeded", 1500))});
  EXPECT_EQ(run({"watch", job_id}), 0) << err_;
  EXPECT_NE(out_.find("5/1,500 (0%), fd 0.41\nparetod at " + server_.url() +
                      " went away; waiting for it to come back\nparetod is back at " +
                      server_.url() + "\nlcsc-digits-7k3fq2 running 9/1,500"),
            std::string::npos)
      << out_;
}

TEST_F(CliTest, WatchDoesNotWaitForEver) {
  patience_s_ = 0.05;
  const FakeReply gone{.body = "", .hang_up = true};
  script_ = one_by_one({json_reply(job("running", 5)), json_reply(job("running", 5)), gone});
  EXPECT_EQ(run({"watch", job_id}), 3);
  EXPECT_NE(err_.find("no paretod answers at"), std::string::npos);
}

TEST_F(CliTest, WatchEndsWhenTheJobIsGone) {
  script_ = one_by_one({json_reply(job("running", 5)), json_reply(job("running", 5)),
                        problem(404, "there is no such job")});
  EXPECT_EQ(run({"watch", job_id}), 1);
  EXPECT_EQ(err_, "paretod: there is no such job\n");
}

TEST_F(CliTest, InterruptDetaches) {
  const pthread_t watcher = pthread_self();
  script_ = [watcher, polls = 0](const FakeRequest&) mutable {
    if (++polls == 3) pthread_kill(watcher, SIGINT);
    return json_reply(job("running", 5));
  };
  EXPECT_EQ(run({"watch", job_id, "--url", server_.url()}), 130);
  EXPECT_EQ(err_,
            "Detached; the job goes on. Come back with: paretod watch lcsc-digits-7k3fq2 --url " +
                server_.url() + "\n");
}

TEST_F(CliTest, InterruptDetachesFromADaemonThatHangs) {
  const pthread_t watcher = pthread_self();
  script_ = [watcher, polls = 0](const FakeRequest&) mutable {
    if (++polls < 3) return json_reply(job("running", 5));
    pthread_kill(watcher, SIGINT);
    return FakeReply{.body = "", .never = true};
  };
  EXPECT_EQ(run({"watch", job_id}), 130);
}

}  // namespace
}  // namespace paretod
