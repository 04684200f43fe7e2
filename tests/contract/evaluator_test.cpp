// What every evaluator owes its caller, whatever it is.  An evaluator joins by one line in
// subjects().

#include "evaluators/evaluator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "evaluators/declared.hpp"
#include "evaluators/diffusion/schedule_evaluator.hpp"
#include "evaluators/process/process_evaluator.hpp"
#include "evaluators/registry.hpp"
#include "optimizers/core/rng.hpp"
#include "tests/support/evaluators/reply_collector.hpp"
#include "tests/support/merge_fixture.hpp"

namespace paretod {
namespace {

using Factory = std::function<std::unique_ptr<Evaluator>()>;

Factory builtin(const std::string& name) {
  return [name]() -> std::unique_ptr<Evaluator> {
    for (auto& [known, evaluator] : builtin_evaluators({.base_directory = {}, .threads = 2})) {
      if (known == name) return std::move(evaluator);
    }
    return nullptr;
  };
}

Factory process(std::vector<std::string> argv, std::int64_t processes) {
  return [argv, processes]() -> std::unique_ptr<Evaluator> {
    ProcessConfig config;
    config.argv = argv;
    config.processes = processes;
    auto started = ProcessEvaluator::start(config, {.base_directory = PARETOD_SOURCE_DIR});
    if (started) return std::move(*started);
    ADD_FAILURE() << started.error().text();
    return nullptr;
  };
}

std::unique_ptr<Evaluator> digits_schedule() {
  ScheduleConfig config;
  config.model = "config/examples/data/digits/model.json";
  config.most_steps = 3;
  config.samples = 60;
  config.droppable = {"all"};
  config.cost = "blocks";
  auto made = ScheduleEvaluator::create(config, {.base_directory = PARETOD_SOURCE_DIR});
  if (made) return std::move(*made);
  ADD_FAILURE() << made.error().text();
  return nullptr;
}

std::map<std::string, Factory> subjects() {
  std::map<std::string, Factory> all;
  for (const auto& [name, evaluator] : builtin_evaluators({.base_directory = {}, .threads = 1})) {
    // Workers and people evaluate those; tests/unit/lease_desk_test.cpp.
    if (!evaluator->describe().leased) all[name] = builtin(name);
  }
  all["diffusion-schedule"] = digits_schedule;
  all["process-python"] = process({"python3", "config/examples/evaluators/sphere.py"}, 2);
  all["merge-program"] = []() -> std::unique_ptr<Evaluator> {
    static const test::MergeFixture models;
    auto made = models.make({{"processes", std::int64_t{2}}});
    if (made) return std::move(*made);
    ADD_FAILURE() << made.error().text();
    return nullptr;
  };
#ifdef PARETOD_TRIVIAL_EVALUATOR
  all["process-cpp"] = process({PARETOD_TRIVIAL_EVALUATOR}, 3);
#endif
  return all;
}

class EvaluatorContract : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    evaluator_ = subjects().at(GetParam())();
    ASSERT_NE(evaluator_, nullptr);
    const EvaluatorDescription description = evaluator_->describe();
    ASSERT_TRUE(description.space.has_value());
    context_.job = "contract";
    context_.seed = 3;
    context_.space = SearchSpace::make(*description.space).value();
    context_.objectives = description.objectives;
  }

  std::vector<EvaluationRequest> requests(std::uint64_t first, std::size_t count) {
    const auto shared = std::make_shared<const EvaluationContext>(context_);
    std::vector<EvaluationRequest> out;
    for (std::uint64_t ticket = first; ticket < first + count; ++ticket) {
      Rng rng(1, ticket);
      out.push_back({ticket, shared, ticket, 1, {shared->space.sample(rng)}});
    }
    return out;
  }

  std::set<std::string> problems() const {
    std::set<std::string> pointers;
    for (const Problem& problem : evaluator_->check(context_)) pointers.insert(problem.pointer);
    return pointers;
  }

  ReplyCollector replies_;  // outlives the evaluator
  std::unique_ptr<Evaluator> evaluator_;
  EvaluationContext context_;
};

TEST_P(EvaluatorContract, DescribesItself) {
  const EvaluatorDescription description = evaluator_->describe();
  EXPECT_FALSE(description.type.empty());
  EXPECT_FALSE(description.summary.empty());
  EXPECT_GE(description.slots, 1U);
  EXPECT_FALSE(description.objectives.empty());
  ParamValues defaults;
  for (const FieldInfo& field : description.params) {
    EXPECT_FALSE(field.meaning.empty()) << field.name;
    defaults[field.name] = field.default_value;
  }
  EXPECT_TRUE(check_params(description.params, defaults).empty());
}

TEST_P(EvaluatorContract, AcceptsItsOwnDeclaration) {
  EXPECT_TRUE(problems().empty());
  for (const FieldInfo& field : evaluator_->describe().params) {
    context_.params[field.name] = field.default_value;
  }
  EXPECT_TRUE(problems().empty());
}

TEST_P(EvaluatorContract, RefusesUnknownObjectivesAndParameters) {
  context_.objectives[0].name = "no-such-objective";
  context_.params["no-such-parameter"] = true;
  EXPECT_EQ(problems(),
            (std::set<std::string>{"/objectives/0/name", "/evaluator/params/no-such-parameter"}));
}

TEST_P(EvaluatorContract, RefusesTheOppositeGoal) {
  Goal& goal = context_.objectives[0].goal;
  goal = goal == Goal::minimize ? Goal::maximize : Goal::minimize;
  EXPECT_EQ(problems(), std::set<std::string>{"/objectives/0/goal"});
}

TEST_P(EvaluatorContract, RefusesAForeignSpace) {
  Parameter parameter;
  parameter.name = "no-such-parameter";
  parameter.type = ParameterType::boolean;
  context_.space = SearchSpace::make({parameter}).value();
  EXPECT_FALSE(problems().empty());
}

TEST_P(EvaluatorContract, AnswersEveryRequestOnce) {
  evaluator_->evaluate(requests(100, 500), replies_.sink());
  replies_.wait_for(500);
  evaluator_.reset();  // whatever it still had to say has been said
  const auto replies = replies_.take();
  ASSERT_EQ(replies.size(), 500U);
  for (std::size_t i = 0; i < replies.size(); ++i) {
    EXPECT_EQ(replies[i].ticket, 100 + i);
    EXPECT_EQ(replies[i].kind, ReplyKind::done);
    const Outcome& outcome = replies[i].outcome;
    ASSERT_EQ(outcome.status, TrialStatus::ok) << outcome.reason;
    ASSERT_EQ(outcome.objectives.size(), context_.objectives.size());
    for (const Measurement& m : outcome.objectives) EXPECT_TRUE(std::isfinite(m.value));
    for (const auto& [name, value] : outcome.metrics) EXPECT_TRUE(std::isfinite(value)) << name;
    EXPECT_GE(outcome.cost.seconds, 0);
  }
}

TEST_P(EvaluatorContract, EqualRequestsHaveEqualResults) {
  evaluator_->evaluate(requests(1, 20), replies_.sink());
  replies_.wait_for(20);
  const auto first = replies_.take();
  evaluator_->evaluate(requests(1, 20), replies_.sink());
  replies_.wait_for(20);
  const auto second = replies_.take();
  for (std::size_t i = 0; i < first.size(); ++i) {
    for (std::size_t m = 0; m < first[i].outcome.objectives.size(); ++m) {
      EXPECT_EQ(first[i].outcome.objectives[m].value, second[i].outcome.objectives[m].value);
    }
  }
}

TEST_P(EvaluatorContract, TakesRequestsFromSeveralThreads) {
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (std::uint64_t i = 0; i < 50; ++i) {
        evaluator_->evaluate(requests(t * 50 + i, 1), replies_.sink());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  replies_.wait_for(200);
  std::set<std::uint64_t> tickets;
  for (const EvaluationReply& reply : replies_.take()) {
    EXPECT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
    tickets.insert(reply.ticket);
  }
  EXPECT_EQ(tickets.size(), 200U);
}

TEST_P(EvaluatorContract, ACancelledRequestIsStillAnswered) {
  evaluator_->cancel(12345);  // never heard of
  evaluator_->evaluate(requests(0, 200), replies_.sink());
  for (std::uint64_t ticket = 0; ticket < 200; ticket += 3) evaluator_->cancel(ticket);
  replies_.wait_for(200);
  for (const EvaluationReply& reply : replies_.take()) {
    if (reply.outcome.status == TrialStatus::ok) continue;
    EXPECT_EQ(reply.ticket % 3, 0U);
    EXPECT_EQ(reply.kind, ReplyKind::done);
    EXPECT_EQ(reply.outcome.status, TrialStatus::failed);
    EXPECT_EQ(reply.outcome.reason, "cancelled");
  }
}

TEST_P(EvaluatorContract, MakesNoReplyOnceDestroyed) {
  auto collector = std::make_unique<ReplyCollector>();
  evaluator_->evaluate(requests(0, 300), collector->sink());
  evaluator_.reset();
  EXPECT_LE(collector->count(), 300U);
  collector.reset();  // a late reply would touch freed memory
}

INSTANTIATE_TEST_SUITE_P(All, EvaluatorContract, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& [name, factory] : subjects()) names.push_back(name);
                           return names;
                         }()),
                         [](const auto& subject) {
                           std::string name = subject.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace paretod
