// The real `paretod worker` against a scripted daemon: what a killed one leaves, signals, names.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "evaluators/process/child.hpp"
#include "tests/functional/fake_lease_daemon.hpp"
#include "tests/support/scratch_directory.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::FakeLeaseDaemon;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class WorkerProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const json config{
        {"evaluators",
         {{"sphere",
           {{"type", "process"},
            {"argv", {"python3", PARETOD_SOURCE_DIR "/config/examples/evaluators/sphere.py"}}}}}}};
    std::ofstream(folder_ / "worker.json") << config.dump();
  }
  ChildProcess start(const std::vector<std::string>& more = {}) {
    ChildCommand command;
    command.argv = {PARETOD_BINARY, "worker",          "--daemon", daemon_.url(),
                    "--evaluator",  "sphere",          "--config", folder_ / "worker.json",
                    "--state",      folder_ / "state", "--slots",  "2"};
    command.argv.insert(command.argv.end(), more.begin(), more.end());
    command.environment = {std::string("PATH=") + std::getenv("PATH")};
    auto child = ChildProcess::spawn(command);
    EXPECT_TRUE(child.ok());
    return std::move(*child);
  }
  /// How it ended.
  static std::string wait(ChildProcess& worker) {
    pollfd end{worker.exited.get(), POLLIN, 0};
    EXPECT_EQ(poll(&end, 1, 60'000), 1);
    return worker.reap();
  }
  static std::string said(const ChildProcess& worker) {
    std::array<char, 65'536> text{};
    const ssize_t count = read(worker.err.get(), text.data(), text.size());
    return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
  }
  /// Kills a worker that has three results which it could not report.
  void leave_results(const std::vector<std::string>& more) {
    daemon_.set_down("/v1/leases:result", true);
    daemon_.offer(3);
    ChildProcess worker = start(more);
    ASSERT_TRUE(daemon_.wait_for([this] {
      const auto bodies = daemon_.bodies("/v1/leases:result");
      return !bodies.empty() && bodies.back().at("results").size() == 3;
    }));
    worker.signal_group(SIGKILL);
    EXPECT_THAT(wait(worker), HasSubstr("signal 9"));
    EXPECT_EQ(daemon_.reported(), 0U);
    daemon_.set_down("/v1/leases:result", false);
  }
  void expect_reported_once() {
    for (int trial = 1; trial <= 3; ++trial) {
      EXPECT_THAT(daemon_.lease(trial).results, SizeIs(1)) << trial;
    }
  }

  test::ScratchDirectory scratch_;
  const fs::path folder_ = scratch_.path();
  FakeLeaseDaemon daemon_;
};

TEST_F(WorkerProcessTest, WhatAKilledWorkerFoundOutIsReportedByTheNext) {
  leave_results({});
  ChildProcess worker = start({"--idle-exit", "1"});
  EXPECT_EQ(wait(worker), "exited with status 0");
  EXPECT_THAT(said(worker), HasSubstr("3 results of an earlier worker are reported first"));
  expect_reported_once();
}

TEST_F(WorkerProcessTest, AWorkerOfAnotherNameAdoptsWhatADeadOneLeft) {
  leave_results({"--name", "a"});
  ChildProcess worker = start({"--name", "b", "--idle-exit", "1"});
  EXPECT_EQ(wait(worker), "exited with status 0");
  EXPECT_THAT(said(worker), HasSubstr("found 3 results"));
  expect_reported_once();
}

TEST_F(WorkerProcessTest, SigtermEndsAnIdleOneWithStatusZero) {
  daemon_.let_polls_hang();
  ChildProcess worker = start();
  ASSERT_TRUE(daemon_.wait_for([this] { return !daemon_.bodies("/v1/leases").empty(); }));
  worker.signal_group(SIGTERM);
  EXPECT_EQ(wait(worker), "exited with status 0");
}

TEST_F(WorkerProcessTest, WorkersOfOneHostFindFoldersOfTheirOwn) {
  daemon_.let_polls_hang();
  ChildProcess first = start();
  ChildProcess second = start();
  ASSERT_TRUE(daemon_.wait_for([this] { return daemon_.bodies("/v1/leases").size() == 2; }));
  const auto bodies = daemon_.bodies("/v1/leases");
  EXPECT_NE(bodies[0].at("worker"), bodies[1].at("worker"));
  for (ChildProcess* worker : {&first, &second}) {
    worker->signal_group(SIGTERM);
    EXPECT_EQ(wait(*worker), "exited with status 0");
  }
}

TEST_F(WorkerProcessTest, ANameIsForOneWorkerAtATime) {
  daemon_.let_polls_hang();
  ChildProcess first = start({"--name", "gpu-1"});
  ASSERT_TRUE(daemon_.wait_for([this] { return !daemon_.bodies("/v1/leases").empty(); }));
  EXPECT_EQ(daemon_.bodies("/v1/leases").at(0).at("worker"), "gpu-1");
  ChildProcess second = start({"--name", "gpu-1"});
  EXPECT_EQ(wait(second), "exited with status 1");
  EXPECT_THAT(said(second), HasSubstr("another name with --name"));
}

TEST_F(WorkerProcessTest, SaysWhatItCannotDo) {
  const auto complaint = [this](const std::vector<std::string>& more) {
    ChildProcess worker = start(more);
    EXPECT_EQ(wait(worker), "exited with status 1");
    return said(worker);
  };
  EXPECT_THAT(complaint({"--evaluator", "digits"}), HasSubstr("no evaluator \"digits\""));
  EXPECT_THAT(complaint({"--name", "../up"}), HasSubstr("--name takes"));
  EXPECT_THAT(complaint({"--slots", "99"}), HasSubstr("--slots 99 is more"));
}

}  // namespace
}  // namespace paretod
