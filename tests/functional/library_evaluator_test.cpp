// Shared libraries behind the real host program.

#include "evaluators/library/library_evaluator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/evaluators/reply_collector.hpp"

namespace paretod {
namespace {

using ::testing::HasSubstr;

Result<std::unique_ptr<Evaluator>> load(const std::string& path,
                                        std::vector<std::string> arguments = {}) {
  return library_evaluator_type().create(
      {{"path", path}, {"args", std::move(arguments)}, {"host", std::string(PARETOD_LIBRARY_HOST)}},
      {.base_directory = PARETOD_SOURCE_DIR});
}

std::string load_failure(const std::string& path) {
  const auto loaded = load(path);
  return loaded ? "loaded" : loaded.error().text();
}

class LibraryEvaluatorTest : public ::testing::Test {
 protected:
  void load_with(const std::string& path, std::vector<std::string> arguments) {
    auto loaded = load(path, std::move(arguments));
    ASSERT_TRUE(loaded.ok()) << loaded.error().text();
    evaluator_ = std::move(*loaded);
    auto context = std::make_shared<EvaluationContext>();
    context->job = "job";
    context->space = SearchSpace::make(*evaluator_->describe().space).value();
    context->objectives = evaluator_->describe().objectives;
    context_ = std::move(context);
  }
  std::uint64_t submit(Point point) {
    const std::uint64_t ticket = next_ticket_++;
    evaluator_->evaluate({{ticket, context_, ticket, 1, {std::move(point)}}}, replies_.sink());
    return ticket;
  }
  EvaluationReply reply_to(Point point) {
    submit(std::move(point));
    return take(1).at(0);
  }
  std::vector<EvaluationReply> take(std::size_t count) {
    replies_.wait_for(count);
    return replies_.take();
  }

  ReplyCollector replies_;  // outlives the evaluator
  std::unique_ptr<Evaluator> evaluator_;
  std::shared_ptr<const EvaluationContext> context_;
  std::uint64_t next_ticket_ = 1;
};

TEST(LibraryEvaluatorStart, SaysWhyALibraryCannotBeLoaded) {
  EXPECT_THAT(load_failure(""), HasSubstr("/path: has to name a shared library"));
  EXPECT_THAT(load_failure("no-such-library.so"),
              HasSubstr("./no-such-library.so: cannot open shared object file"));
  EXPECT_THAT(load_failure("libm.so.6"), HasSubstr("/path: "));  // not from the system's folders
  EXPECT_THAT(load_failure("/lib/x86_64-linux-gnu/libm.so.6"),
              HasSubstr("exports no paretod_evaluator_v1"));
  EXPECT_THAT(load_failure(PARETOD_ODD_LIBRARY),
              HasSubstr("does not open: the licence has expired"));
  const auto wrong = library_evaluator_type().create(
      {{"argv", std::vector<std::string>{"sh"}}, {"processes", std::int64_t{0}}}, {});
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().text(), HasSubstr("/argv: "));
  EXPECT_THAT(wrong.error().text(), HasSubstr("/processes: "));
}

TEST_F(LibraryEvaluatorTest, TheExampleEvaluates) {
  load_with(PARETOD_SPHERE_LIBRARY, {});
  EXPECT_EQ(evaluator_->describe().type, "library");
  EXPECT_EQ(evaluator_->describe().slots, 16U);
  for (int i = 0; i < 200; ++i) submit({i / 200.0, 0.7});
  const auto replies = take(200);
  for (std::size_t i = 0; i < 200; ++i) {
    const double dx = static_cast<double>(i) / 200.0 - 0.3;
    ASSERT_EQ(replies[i].outcome.status, TrialStatus::ok) << replies[i].outcome.reason;
    EXPECT_DOUBLE_EQ(replies[i].outcome.objectives.at(0).value, dx * dx);
  }
}

TEST_F(LibraryEvaluatorTest, ACrashEndsOnlyTheHost) {
  load_with(PARETOD_ODD_LIBRARY, {"works"});
  const EvaluationReply crashed = reply_to({1, 0});
  EXPECT_EQ(crashed.kind, ReplyKind::fault);
  EXPECT_THAT(crashed.outcome.reason, HasSubstr("was killed by signal 6"));
  const EvaluationReply next = reply_to({0, 1});
  EXPECT_EQ(next.outcome.status, TrialStatus::ok) << next.outcome.reason;
  EXPECT_EQ(next.outcome.objectives.at(0).value, 1);
}

TEST_F(LibraryEvaluatorTest, WhatItPrintsIsItsLog) {
  load_with(PARETOD_ODD_LIBRARY, {"works"});
  submit({3, 0});
  const auto replies = take(2);
  EXPECT_EQ(replies[0].kind, ReplyKind::progress);
  EXPECT_EQ(replies[0].done, 0.5);
  EXPECT_EQ(replies[1].outcome.objectives.at(0).value, 30);
  EXPECT_EQ(replies[1].log, "thinking\n");
}

TEST_F(LibraryEvaluatorTest, ACancelReachesALibraryThatBlocks) {
  load_with(PARETOD_ODD_LIBRARY, {"works"});
  // Sent together, so the answer to the first shows that the second has arrived.
  evaluator_->evaluate({{1, context_, 1, 1, {{3, 0}}}, {2, context_, 2, 1, {{2, 0}}}},
                       replies_.sink());
  replies_.wait_for(2);
  evaluator_->cancel(2);
  const auto replies = take(3);
  EXPECT_EQ(replies[2].ticket, 2U);
  EXPECT_EQ(replies[2].outcome.status, TrialStatus::ok) << replies[2].outcome.reason;
  EXPECT_EQ(replies[2].outcome.objectives.at(0).value, 20);
}

}  // namespace
}  // namespace paretod
