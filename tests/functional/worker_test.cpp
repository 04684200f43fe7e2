// A worker against a scripted daemon: cuts, duplicates, lapsed and cancelled leases, stops.

#include "daemon/worker/worker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/functional/fake_lease_daemon.hpp"
#include "tests/support/evaluators/manual_evaluator.hpp"
#include "tests/support/scratch_directory.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::FakeLeaseDaemon;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class WorkerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    open_spool();
    options_.name = "tester";
    options_.evaluator = "manual";
    options_.slots = 2;
    options_.wait_s = 1;
    options_.longest_pause_s = 0.02;
  }
  void TearDown() override {
    if (thread_.joinable()) {
      worker_->abandon();
      thread_.join();
    }
    worker_.reset();
    spool_.reset();
  }

  void open_spool() {
    spool_.reset();
    auto opened = Spool::open(folder_, "results");
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    spool_ = std::move(*opened);
  }
  void start(bool at_once = false, bool paid = false) {
    control_ = std::make_shared<ManualEvaluator::Control>();
    const auto connect = [this](HttpClientOptions http) {
      return cli::DaemonApi(HttpClient(std::move(http)), daemon_.url(), "a-secret");
    };
    worker_ = std::make_unique<Worker>(options_,
                                       std::make_unique<ManualEvaluator>(control_, at_once, paid),
                                       *spool_, connect, [this](const std::string& line) {
                                         const std::lock_guard lock(said_mutex_);
                                         said_ += line + "\n";
                                       });
    thread_ = std::thread([this] { ended_ = worker_->run(); });
  }
  /// What run() returned.
  Result<void> join() {
    thread_.join();
    return ended_;
  }
  Result<void> stop() {
    worker_->stop();
    return join();
  }
  std::string said() {
    const std::lock_guard lock(said_mutex_);
    return said_;
  }
  json result_of(int trial) { return daemon_.lease(trial).results.at(0); }

  test::ScratchDirectory scratch_;
  const fs::path folder_ = scratch_.path();
  FakeLeaseDaemon daemon_;
  std::unique_ptr<Spool> spool_;
  WorkerOptions options_;
  std::shared_ptr<ManualEvaluator::Control> control_;
  std::unique_ptr<Worker> worker_;
  std::thread thread_;
  Result<void> ended_;
  std::mutex said_mutex_;
  std::string said_;
};

TEST_F(WorkerTest, EvaluatesWhatItLeases) {
  daemon_.offer(9);
  start(true);
  ASSERT_TRUE(daemon_.wait_reported(9));
  EXPECT_TRUE(stop().ok());
  for (int trial = 1; trial <= 9; ++trial) {
    ASSERT_THAT(daemon_.lease(trial).results, SizeIs(1)) << trial;
    EXPECT_EQ(result_of(trial).at("type"), "result");
    EXPECT_EQ(result_of(trial).at("id"), "job:" + std::to_string(trial) + ":1");
    EXPECT_EQ(result_of(trial).at("objectives").at("distance").at("value"), trial / 1024.0);
  }
  const json asked = daemon_.bodies("/v1/leases").at(0);
  EXPECT_EQ(asked.at("worker"), "tester");
  EXPECT_EQ(asked.at("evaluator"), "manual");
  EXPECT_EQ(asked.at("count"), 2);
  EXPECT_EQ(asked.at("ttl_s"), 30);
  EXPECT_FALSE(asked.contains("job"));
  for (const auto& request : daemon_.requests()) {
    EXPECT_EQ(request.header("Authorization"), "Bearer a-secret");
  }
  EXPECT_EQ(spool_->pending_count(), 0U);
  EXPECT_THAT(said(), HasSubstr("9 attempts ended"));
}

TEST_F(WorkerTest, KeepsToItsSlotsAndItsJob) {
  options_.job = "job";
  daemon_.offer(5);
  start();
  auto requests = control_->wait_requests(2);
  control_->finish(requests[1].ticket, 1);
  requests = control_->wait_requests(3);
  EXPECT_EQ(requests[0].context, requests[2].context) << "attempts of a job share its context";
  std::vector<json> counts;
  for (const json& body : daemon_.bodies("/v1/leases")) {
    EXPECT_EQ(body.at("job"), "job");
    counts.push_back(body.at("count"));
  }
  EXPECT_THAT(counts, ElementsAre(2, 1));
}

TEST_F(WorkerTest, ACutAnswerCostsNoAttempt) {
  for (const char* path : {"/v1/leases", "/v1/leases:result"}) daemon_.cut_answers(path, 3);
  daemon_.offer(4);
  start(true);
  ASSERT_TRUE(daemon_.wait_reported(4));
  EXPECT_TRUE(stop().ok());
  EXPECT_EQ(control_->wait_requests(4).size(), 4U) << "each evaluated once";
  const auto asked = daemon_.bodies("/v1/leases");
  EXPECT_EQ(asked.at(0), asked.at(1)) << "the same request again";
  std::size_t repeats = 0;
  for (int trial = 1; trial <= 4; ++trial) {
    const auto& results = daemon_.lease(trial).results;
    EXPECT_THAT(results, Each(results.front()));
    repeats += results.size() - 1;
  }
  EXPECT_GE(repeats, 3U) << "answered \"duplicate\"";
  EXPECT_EQ(spool_->pending_count(), 0U);
  EXPECT_THAT(said(), HasSubstr("trying on"));
  EXPECT_THAT(said(), HasSubstr("answers again"));
}

TEST_F(WorkerTest, ResultsWaitInTheSpoolForAnotherWorker) {
  options_.grace_s = 0;
  daemon_.set_down("/v1/leases:result", true);
  daemon_.offer(2);
  start(true);
  ASSERT_TRUE(daemon_.wait_for([this] { return daemon_.bodies("/v1/leases:result").size() > 2; }));
  EXPECT_TRUE(stop().ok());
  EXPECT_EQ(spool_->pending_count(), 2U);
  EXPECT_EQ(daemon_.reported(), 0U);

  daemon_.set_down("/v1/leases:result", false);
  options_.grace_s = 30;
  worker_.reset();
  open_spool();
  start();
  ASSERT_TRUE(daemon_.wait_reported(2));
  EXPECT_TRUE(stop().ok());
  EXPECT_EQ(spool_->pending_count(), 0U);
  EXPECT_THAT(daemon_.lease(1).results, SizeIs(1));
}

TEST_F(WorkerTest, HeartbeatsCarryProgress) {
  daemon_.set_ttl(0.3);
  daemon_.offer(2);
  start();
  const auto requests = control_->wait_requests(2);
  EvaluationReply progress;
  progress.ticket = requests[0].ticket;
  progress.kind = ReplyKind::progress;
  progress.done = 0.5;
  progress.outcome.objectives = {{7.5}};
  control_->answer(progress);
  ASSERT_TRUE(daemon_.wait_for(
      [this] { return !daemon_.lease(1).progress.empty() && daemon_.lease(2).beats >= 3; }));
  EXPECT_EQ(daemon_.lease(1).progress.at(0).at("done"), 0.5);
  EXPECT_EQ(daemon_.lease(1).progress.at(0).at("partial").at("distance").at("value"), 7.5);
  EXPECT_THAT(daemon_.lease(1).progress, SizeIs(1)) << "only what is new";
  EXPECT_THAT(daemon_.lease(2).progress, SizeIs(0));
}

TEST_F(WorkerTest, ALeaseIsKeptAliveUntilItsResultHasArrived) {
  daemon_.set_ttl(0.3);
  daemon_.set_down("/v1/leases:result", true);
  daemon_.offer(1);
  start(true);
  ASSERT_TRUE(daemon_.wait_for([this] { return daemon_.lease(1).beats >= 3; }));
}

TEST_F(WorkerTest, CancelReachesTheEvaluator) {
  daemon_.set_ttl(0.3);
  daemon_.cancel(2);
  daemon_.offer(2);
  start();
  const auto requests = control_->wait_requests(2);
  EXPECT_THAT(control_->wait_cancelled(1), ElementsAre(requests[1].ticket));
  ASSERT_TRUE(daemon_.wait_reported(1));
  EXPECT_EQ(result_of(2).at("kind"), "failed");
  EXPECT_EQ(result_of(2).at("message"), "cancelled");
}

TEST_F(WorkerTest, AResultIsReportedThoughItsLeaseIsGone) {
  daemon_.set_ttl(0.3);
  daemon_.forget(1);
  daemon_.offer(2);
  start();
  const auto requests = control_->wait_requests(2);
  ASSERT_TRUE(daemon_.wait_for([this] { return daemon_.lease(2).beats >= 4; }));
  EXPECT_EQ(daemon_.lease(1).beats, 1U) << "what is gone needs no heartbeats";
  control_->finish(requests[0].ticket, 3);
  ASSERT_TRUE(daemon_.wait_reported(1));
  EXPECT_EQ(result_of(1).at("objectives").at("distance").at("value"), 3);
}

TEST_F(WorkerTest, FailuresKeepTheirKind) {
  daemon_.offer(2);
  start();
  const auto requests = control_->wait_requests(2);
  EvaluationReply crash;
  crash.ticket = requests[0].ticket;
  crash.kind = ReplyKind::fault;
  crash.outcome = Outcome::failure(TrialStatus::failed, "it crashed");
  control_->answer(crash);
  EvaluationReply infeasible;
  infeasible.ticket = requests[1].ticket;
  infeasible.outcome = Outcome::failure(TrialStatus::infeasible, "too long");
  control_->answer(infeasible);
  ASSERT_TRUE(daemon_.wait_reported(2));
  EXPECT_EQ(result_of(1).at("kind"), "fatal");
  EXPECT_EQ(result_of(1).at("message"), "it crashed");
  EXPECT_EQ(result_of(2).at("kind"), "infeasible");
  EXPECT_THAT(said(), HasSubstr("it crashed"));
}

TEST_F(WorkerTest, AJobForAnotherEvaluatorFailsNamingTheField) {
  daemon_.set_space({{{"name", "x"}, {"type", "real"}, {"low", 0}, {"high", 1}}});
  daemon_.offer(1);
  start();
  ASSERT_TRUE(daemon_.wait_reported(1));
  EXPECT_EQ(result_of(1).at("id"), "job:1:1");
  EXPECT_EQ(result_of(1).at("kind"), "fatal");
  EXPECT_THAT(result_of(1).at("message"), HasSubstr("/space: has to have two parameters"));
}

TEST_F(WorkerTest, ACutAnswerAboutAJobCostsNoAttempt) {
  daemon_.cut_answers("/v1/jobs/job", 3);
  daemon_.offer(1);
  start();
  const auto requests = control_->wait_requests(1);
  control_->finish(requests[0].ticket, 4);
  ASSERT_TRUE(daemon_.wait_reported(1));
  EXPECT_EQ(result_of(1).at("objectives").at("distance").at("value"), 4);
}

TEST_F(WorkerTest, WithoutTheJobsShapeAnAttemptIsWorthAnother) {
  daemon_.set_ttl(0.1);
  daemon_.set_down("/v1/jobs/job", true);
  daemon_.offer(1);
  start();
  ASSERT_TRUE(daemon_.wait_reported(1));
  EXPECT_EQ(result_of(1).at("kind"), "transient");
}

TEST_F(WorkerTest, AfterStopRunningAttemptsMayEnd) {
  daemon_.offer(10);
  start();
  const auto requests = control_->wait_requests(2);
  worker_->stop();
  control_->finish(requests[0].ticket, 1);
  ASSERT_TRUE(daemon_.wait_reported(1));
  control_->finish(requests[1].ticket, 2);
  EXPECT_TRUE(join().ok());
  EXPECT_EQ(daemon_.reported(), 2U);
  EXPECT_EQ(control_->wait_requests(2).size(), 2U) << "nothing new was begun";
  EXPECT_FALSE(daemon_.lease(1).released);
}

TEST_F(WorkerTest, WhatDoesNotEndInTimeIsGivenBack) {
  options_.grace_s = 0;
  daemon_.offer(2);
  start();
  const auto requests = control_->wait_requests(2);
  EXPECT_TRUE(stop().ok());
  EXPECT_TRUE(daemon_.lease(1).released);
  EXPECT_TRUE(daemon_.lease(2).released);
  EXPECT_EQ(control_->wait_cancelled(2).size(), 2U);
  EXPECT_EQ(spool_->pending_count(), 0U) << "being cut off is no result";
}

TEST_F(WorkerTest, WhatCostsMoneyIsNotGivenBackOnceItRuns) {
  options_.grace_s = 0;
  daemon_.offer(2);
  start(false, true);
  control_->wait_requests(2);
  EXPECT_TRUE(stop().ok());
  EXPECT_FALSE(daemon_.lease(1).released);
  EXPECT_EQ(result_of(1).at("kind"), "unknown");
  EXPECT_EQ(result_of(2).at("kind"), "unknown");
}

TEST_F(WorkerTest, ASecondStopGivesBackAtOnce) {
  options_.grace_s = 3600;
  daemon_.offer(1);
  start();
  control_->wait_requests(1);
  worker_->stop();
  worker_->abandon();
  EXPECT_TRUE(join().ok());
  EXPECT_TRUE(daemon_.lease(1).released);
}

TEST_F(WorkerTest, WhatWasGrantedWhileItStoppedIsGivenBack) {
  options_.wait_s = 60;
  daemon_.let_polls_hang();
  start();
  ASSERT_TRUE(daemon_.wait_for([this] { return !daemon_.bodies("/v1/leases").empty(); }));
  daemon_.offer(2);  // granted to the request that is given up now
  EXPECT_TRUE(stop().ok());
  EXPECT_TRUE(daemon_.lease(1).released);
  EXPECT_TRUE(daemon_.lease(2).released);
  const auto asked = daemon_.bodies("/v1/leases");
  EXPECT_EQ(asked.front().at("request"), asked.back().at("request"));
}

TEST_F(WorkerTest, AResultThatTheDaemonCannotReadIsSetAside) {
  daemon_.refuse_result(2);
  daemon_.offer(3);
  options_.slots = 3;
  start(true);
  ASSERT_TRUE(daemon_.wait_reported(2));
  EXPECT_TRUE(stop().ok());
  EXPECT_EQ(spool_->pending_count(), 0U);
  std::ostringstream refused;
  refused << std::ifstream(folder_ / "refused.jsonl").rdbuf();
  EXPECT_THAT(refused.str(), HasSubstr("\"lease-2\""));
  EXPECT_THAT(refused.str(), HasSubstr("a result of odd form"));
  EXPECT_THAT(said(), HasSubstr("refused.jsonl"));
}

TEST_F(WorkerTest, ARefusalEndsIt) {
  daemon_.refuse_leases(401);
  start();
  const auto ended = join();
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().kind, ErrorKind::denied);
  EXPECT_THAT(ended.error().message, HasSubstr("--token-file"));
}

TEST_F(WorkerTest, ItEndsWhenThereIsNothingToDo) {
  options_.idle_exit_s = 0.2;
  daemon_.offer(3);
  start(true);
  EXPECT_TRUE(join().ok());
  EXPECT_EQ(daemon_.reported(), 3U);
}

}  // namespace
}  // namespace paretod
