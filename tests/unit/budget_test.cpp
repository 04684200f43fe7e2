// Budgets of evaluation seconds, tokens and money: amounts, the ledger, jobs that run out.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <random>

#include "daemon/jobs/ledger.hpp"
#include "daemon/jobs/money.hpp"
#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using testing::HasSubstr;

TEST(Money, ReadsAndWritesExactAmounts) {
  EXPECT_EQ(parse_money("5 USD")->micros, 5'000'000);
  EXPECT_EQ(parse_money("0.000125 EUR")->micros, 125);
  EXPECT_EQ(parse_money("0.000125 EUR")->currency, "EUR");
  EXPECT_EQ(money_text(5'000'000, "USD"), "5.00 USD");
  EXPECT_EQ(money_text(125, "EUR"), "0.000125 EUR");
  EXPECT_EQ(money_text(1'100'000, ""), "1.10");
  for (const char* wrong : {"", "5", "5USD", "USD 5", "-1 USD", "1.0000001 USD", "1. USD", ".5 USD",
                            "1 usd", "1e3 USD", "1234567890123 USD", "5 USDT", "5  USD"}) {
    EXPECT_FALSE(parse_money(wrong).ok()) << wrong;
  }
}

TEST(Ledger, NeverHoldsMoreThanFits) {
  Ledger ledger({.seconds = 0, .tokens = 1000, .money_micros = 100},
                {.seconds = 5, .tokens = 10, .money_micros = 30}, {}, {});
  EXPECT_TRUE(ledger.reserve());
  EXPECT_TRUE(ledger.reserve());
  EXPECT_TRUE(ledger.reserve());
  EXPECT_FALSE(ledger.reserve()) << "90 of 100 are held";
  EXPECT_EQ(ledger.short_of(), Resource::money);
  ledger.settle(ledger.worst_case(), {.seconds = 1, .tokens = 3, .money_micros = 10});
  EXPECT_TRUE(ledger.reserve()) << "10 + 60 + 30";
  EXPECT_FALSE(ledger.reserve());
  EXPECT_EQ(ledger.held().money_micros, 90);
  EXPECT_EQ(ledger.spent().tokens, 3U);
}

TEST(Ledger, ReservesByChanceWithoutEverExceedingACap) {
  std::mt19937 random(7);
  const auto draw = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  for (int round = 0; round < 200; ++round) {
    const Spend caps{.seconds = 0, .tokens = 0, .money_micros = draw(10'000) + 1};
    const Spend worst{.seconds = 0, .tokens = 0, .money_micros = draw(500) + 1};
    Ledger ledger(caps, worst, {}, {});
    int open = 0;
    for (int step = 0; step < 500; ++step) {
      if (draw(1) == 0 && ledger.reserve()) {
        ++open;
      } else if (open > 0) {
        --open;
        ledger.settle(worst, {.seconds = 0,
                              .tokens = 0,
                              .money_micros = draw(static_cast<int>(worst.money_micros))});
      }
      ASSERT_LE(ledger.spent().money_micros + ledger.held().money_micros, caps.money_micros);
      ASSERT_EQ(ledger.held().money_micros, open * worst.money_micros);
    }
  }
}

TEST(Ledger, WithoutAWorstCaseStopsOnceTheCapIsReached) {
  Ledger ledger({.seconds = 10}, {}, {}, {});
  EXPECT_TRUE(ledger.reserve());
  ledger.settle({}, {.seconds = 9.5});
  EXPECT_TRUE(ledger.reserve());
  ledger.settle({}, {.seconds = 0.5});
  EXPECT_FALSE(ledger.reserve());
}

EvaluatorDescription paid_evaluator(std::size_t slots) {
  EvaluatorDescription description;
  description.slots = slots;
  description.paid = true;
  description.currency = "USD";
  description.worst_case = {.seconds = 0, .tokens = 100, .money_micros = 1000};
  return description;
}

std::string job_text(const std::string& budget, std::size_t parallelism) {
  return R"({"optimizer":"random","evaluator":"test","seed":1,"space":[{"name":"x","type":"real",)"
         R"("low":-1,"high":2},{"name":"y","type":"real","low":-1,"high":2}],)"
         R"("objectives":[{"name":"a"},{"name":"b"}],"parallelism":)" +
         std::to_string(parallelism) + R"(,"budget":)" + budget + "}";
}

struct World {
  World(FunctionEvaluator::Function function, std::size_t slots)
      : World(std::move(function), paid_evaluator(slots)) {}
  World(FunctionEvaluator::Function function, EvaluatorDescription description) {
    catalog = test_catalog(
        std::make_unique<FunctionEvaluator>(std::move(function), std::move(description)));
    restart();
  }
  void restart() {
    manager.reset();
    manager = std::make_unique<JobManager>(backend, *catalog, ManagerOptions{});
    ASSERT_TRUE(manager->recover().ok());
  }
  std::shared_ptr<Job> create(const std::string& text) {
    return manager->create(spec_from(text, *catalog), "", "")->job;
  }
  std::vector<nlohmann::json> events(const std::string& job, const std::string& kind) {
    std::vector<nlohmann::json> found;
    for (const auto& [id, text] : raw_log(backend, job)) {
      auto event = nlohmann::json::parse(text);
      if (event["e"] == kind) found.push_back(std::move(event));
    }
    return found;
  }

  MemoryBackend backend;
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<JobManager> manager;
};

/// Waits until the job is paused and its run has unwound, so that nothing is in flight.
void wait_until_paused(const std::shared_ptr<Job>& job) {
  job->wait([](JobStatus status) { return status == JobStatus::paused; });
}

TEST(Budget, ManySlotsNeverBuyMoreThanTheCap) {
  std::atomic<int> calls = 0;
  World world(
      [&](const EvaluationRequest& request) {
        ++calls;
        EvaluationReply reply = two_valleys(request);
        reply.outcome.cost = {.seconds = 0, .tokens = 100, .money_micros = 1000};
        return reply;
      },
      64);
  const auto job = world.create(job_text(R"({"trials":1000,"money":"0.1 USD"})", 64));
  wait_until_paused(job);
  EXPECT_EQ(job->status(), JobStatus::paused);
  EXPECT_EQ(calls, 100) << "0.1 USD at 0.001 each";
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.spent().money_micros, 100'000);
    EXPECT_EQ(state.held().money_micros, 0);
    EXPECT_EQ(state.pause_cause(), PauseCause::budget);
    EXPECT_THAT(state.status_reason(), HasSubstr("money"));
  });
  const auto told = world.events(job->id(), "budget");
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0]["percent"], 80);
  EXPECT_EQ(told[1]["percent"], 100);

  ExtendedEvent more;
  more.money_micros = 150'000;
  ASSERT_TRUE(job->extend(more).ok()) << "and goes on by itself";
  wait_until_paused(job);
  EXPECT_EQ(calls, 150);
  EXPECT_EQ(world.events(job->id(), "budget").size(), 4U);
}

TEST(Budget, CheapAttemptsGiveBackWhatTheyHeld) {
  std::atomic<int> calls = 0;
  World world(
      [&](const EvaluationRequest& request) {
        ++calls;
        EvaluationReply reply = two_valleys(request);
        reply.outcome.cost = {.seconds = 0, .tokens = 1, .money_micros = 100};
        return reply;
      },
      8);
  const auto job = world.create(job_text(R"({"trials":1000,"money":"0.1 USD"})", 8));
  wait_until_paused(job);
  EXPECT_GE(calls, 990) << "100 each, until the next might cost 1000";
  EXPECT_LE(calls, 1000);
}

TEST(Budget, AnAttemptOfUnknownEndIsBilledAtItsWorstAndNotRepeated) {
  std::atomic<int> calls = 0;
  World world(
      [&](const EvaluationRequest& request) {
        EvaluationReply reply = two_valleys(request);
        if (++calls == 2) {
          reply.kind = ReplyKind::fault;
          reply.cost_known = false;
          reply.outcome = Outcome::failure(TrialStatus::failed, "crashed");
        }
        return reply;
      },
      1);
  const auto job = world.create(job_text(R"({"trials":3,"money":"0.1 USD"})", 1));
  job->wait([](JobStatus) { return false; });
  EXPECT_EQ(calls, 3);
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.trials()[1].outcome->status, TrialStatus::unknown);
    EXPECT_EQ(state.trials()[1].outcome->cost.money_micros, 1000);
    EXPECT_EQ(state.spent().money_micros, 1000);
  });
}

TEST(Budget, AnEvaluatorThatKeepsWhatItPaidForIsAskedAgain) {
  EvaluatorDescription description = paid_evaluator(1);
  description.resumable = true;
  World world(
      [](const EvaluationRequest& request) {
        EvaluationReply reply = two_valleys(request);
        if (request.trial == 2 && request.attempt == 1) {
          reply.kind = ReplyKind::fault;
          reply.cost_known = false;
        } else {
          reply.outcome.cost = {.seconds = 0, .tokens = 10, .money_micros = 100};
        }
        return reply;
      },
      description);
  const auto job = world.create(job_text(R"({"trials":3,"money":"1 USD"})", 1));
  job->wait([](JobStatus) { return false; });
  job->with_state([](JobState& state) {
    EXPECT_EQ(state.trials()[1].outcome->status, TrialStatus::ok);
    EXPECT_EQ(state.trials()[1].outcome->attempts, 2U);
    EXPECT_EQ(state.spent().money_micros, 3 * 100 + 1000) << "the lost one at its worst";
  });
}

TEST(Budget, FailedAttemptsCountWhatTheyCost) {
  World world(
      [](const EvaluationRequest& request) {
        EvaluationReply reply = two_valleys(request);
        reply.outcome.cost.money_micros = 200;
        if (request.trial == 1 && request.attempt == 1) {
          reply.kind = ReplyKind::transient;
          reply.outcome = Outcome::failure(TrialStatus::failed, "busy");
          reply.outcome.cost.money_micros = 50;
        }
        return reply;
      },
      1);
  const auto job = world.create(job_text(R"({"trials":2,"money":"1 USD"})", 1));
  job->wait([](JobStatus) { return false; });
  job->with_state([](JobState& state) { EXPECT_EQ(state.spent().money_micros, 450); });
  const auto ended = world.events(job->id(), "ended");
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0]["c"], 50);
  EXPECT_EQ(ended[0]["end"], "transient");
}

TEST(Budget, ARestartInTheMiddleBillsWhatWasOpen) {
  World world([](const EvaluationRequest& request) { return two_valleys(request); }, 1);
  const auto job = world.create(job_text(R"({"trials":3,"money":"0.1 USD"})", 1));
  const std::string id = job->id();
  job->wait([](JobStatus) { return false; });
  // As if the daemon had been killed while the second attempt ran.
  std::size_t kept = 0;
  const auto log = raw_log(world.backend, id);
  for (std::size_t started = 0; started < 2; ++kept) {
    if (nlohmann::json::parse(log[kept].second)["e"] == "started") ++started;
  }
  const auto cut = truncated(world.backend, id, kept);
  JobManager again(*cut, *world.catalog, ManagerOptions{});
  ASSERT_TRUE(again.recover().ok());
  const auto recovered = again.find(id);
  recovered->wait([](JobStatus) { return false; });
  recovered->with_state([](JobState& state) {
    EXPECT_EQ(state.told_order().size(), 3U);
    EXPECT_EQ(state.trials()[1].outcome->status, TrialStatus::unknown);
    EXPECT_EQ(state.spent().money_micros, 1000);
  });
}

TEST(Budget, RefusesWhatItCannotKeep) {
  const auto catalog =
      test_catalog(std::make_unique<FunctionEvaluator>(two_valleys, paid_evaluator(1)));
  const auto problem = [&](const std::string& budget) {
    const auto spec = job_spec_from_json(nlohmann::json::parse(job_text(budget, 1)), *catalog);
    if (spec) return std::string("none");
    return spec.error().problems[0].pointer + ": " + spec.error().problems[0].message;
  };
  EXPECT_EQ(problem(R"({"money":"1 USD"})"), "none");
  EXPECT_THAT(problem(R"({"trials":5})"), HasSubstr("/budget/money: is required"));
  EXPECT_THAT(problem(R"({"money":"1 EUR"})"), HasSubstr("/budget/money: must be in USD"));
  EXPECT_THAT(problem(R"({"money":1})"), HasSubstr("/budget/money"));
  EXPECT_THAT(problem(R"({"money":"1 USD","tokens":-1})"), HasSubstr("/budget/tokens"));
  EXPECT_THAT(problem(R"({"money":"1 USD","worst_case":{"money":"1 EUR"}})"),
              HasSubstr("/budget/worst_case/money"));
  const auto free = test_catalog(std::make_unique<FunctionEvaluator>(two_valleys, 1));
  const auto spec =
      job_spec_from_json(nlohmann::json::parse(job_text(R"({"tokens":5000})", 1)), *free);
  ASSERT_FALSE(spec.ok());
  EXPECT_EQ(spec.error().problems[0].pointer, "/budget/tokens");
  EXPECT_THAT(spec.error().problems[0].message, HasSubstr("worst_case"));
}

}  // namespace
}  // namespace paretod
