// The process evaluator against real programs, well-behaved and not.

#include "evaluators/process/process_evaluator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/support/evaluators/reply_collector.hpp"

namespace paretod {
namespace {

using ::testing::HasSubstr;

constexpr const char* program = "tests/support/evaluators/misbehave.py";

ProcessConfig misbehave(std::vector<std::string> arguments = {"well"}) {
  ProcessConfig config;
  config.argv = {"python3", program};
  config.argv.insert(config.argv.end(), arguments.begin(), arguments.end());
  return config;
}

Result<std::unique_ptr<ProcessEvaluator>> start(const ProcessConfig& config) {
  return ProcessEvaluator::start(config, {.base_directory = PARETOD_SOURCE_DIR});
}

std::string start_failure(const ProcessConfig& config) {
  const auto started = start(config);
  return started ? "started" : started.error().text();
}

class ProcessEvaluatorTest : public ::testing::Test {
 protected:
  void start_with(const ProcessConfig& config) {
    auto started = start(config);
    ASSERT_TRUE(started.ok()) << started.error().text();
    evaluator_ = std::move(*started);
    auto context = std::make_shared<EvaluationContext>();
    context->job = "job";
    context->space = SearchSpace::make(*evaluator_->describe().space).value();
    context->objectives = evaluator_->describe().objectives;
    context_ = std::move(context);
  }

  EvaluationRequest request(const std::string& behave, double x = 1, double deadline_s = 0) {
    const auto& choices = context_->space.parameters()[0].choices;
    const auto found = std::find(choices.begin(), choices.end(), behave);
    EXPECT_NE(found, choices.end()) << behave;
    const std::uint64_t ticket = next_ticket_++;
    return {ticket,    context_, ticket, 1, {{static_cast<double>(found - choices.begin()), x}},
            deadline_s};
  }
  void submit(EvaluationRequest request) {
    std::vector<EvaluationRequest> requests;
    requests.push_back(std::move(request));
    evaluator_->evaluate(std::move(requests), replies_.sink());
  }
  std::vector<EvaluationReply> take(std::size_t count) {
    replies_.wait_for(count);
    return replies_.take();
  }
  EvaluationReply reply_to(const std::string& behave, double x = 1, double deadline_s = 0) {
    submit(request(behave, x, deadline_s));
    return take(1).at(0);
  }
  std::string first_line_of_stderr() {
    std::string text;
    while (text.find('\n') == std::string::npos) {
      std::this_thread::yield();
      text = evaluator_->stderr_tails().at(0);
    }
    return text.substr(0, text.find('\n'));
  }
  double pid() {
    const EvaluationReply reply = reply_to("answer");
    EXPECT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
    return reply.outcome.metrics.at(0).second;
  }

  ReplyCollector replies_;  // outlives the evaluator
  std::unique_ptr<ProcessEvaluator> evaluator_;
  std::shared_ptr<const EvaluationContext> context_;
  std::uint64_t next_ticket_ = 1;
};

// ---- starting ----------------------------------------------------------------------------------

TEST(ProcessEvaluatorStart, SaysWhyAProgramCannotBeStarted) {
  ProcessConfig config;
  EXPECT_THAT(start_failure(config), HasSubstr("/argv: has to name a program"));
  config.argv = {"no-such-program-anywhere"};
  EXPECT_THAT(start_failure(config),
              HasSubstr("cannot start \"no-such-program-anywhere\": No such file"));
}

TEST(ProcessEvaluatorStart, ShowsExitStatusAndLastWords) {
  EXPECT_THAT(start_failure(misbehave({"exit"})),
              HasSubstr("exited with status 3 before its hello; the last lines of its stderr:\n"
                        "first\nno such model: resnet"));
}

TEST(ProcessEvaluatorStart, NoShellIsInvolved) {
  ProcessConfig config;
  config.argv = {"/bin/echo", "$HOME", "; exit 9", "`id`"};
  EXPECT_THAT(start_failure(config), HasSubstr("$HOME ; exit 9 `id`"));
}

TEST(ProcessEvaluatorStart, SaysThatDiagnosticsBelongOnStderr) {
  EXPECT_THAT(start_failure(misbehave({"chatty"})),
              HasSubstr("began with a line that is not its hello: Loading weights"));
}

TEST(ProcessEvaluatorStart, PointsIntoAFaultyHello) {
  EXPECT_THAT(start_failure(misbehave({"typo"})), HasSubstr("/slot: there is no such field"));
  EXPECT_THAT(start_failure(misbehave({"version"})), HasSubstr("/paretod: has to be 1"));
  EXPECT_THAT(start_failure(misbehave({"bad_space"})), HasSubstr("/space/0/low"));
}

TEST(ProcessEvaluatorStart, GivesUpOnASilentProgram) {
  ProcessConfig config = misbehave({"silent"});
  config.hello_timeout_s = 0.3;
  EXPECT_THAT(start_failure(config), HasSubstr("said no hello within 0.3 s"));
}

TEST(ProcessEvaluatorStart, ProcessesMustAgree) {
  ProcessConfig config = misbehave({"unequal"});
  config.processes = 2;
  EXPECT_THAT(start_failure(config), HasSubstr("another hello"));
}

TEST(ProcessEvaluatorStart, EnvironmentIsScrubbed) {
  setenv("PARETOD_TEST_SECRET", "hidden", 1);
  setenv("PARETOD_TEST_PASSED", "visible", 1);
  ProcessConfig config = misbehave({"environment"});
  config.environment = {"PARETOD_TEST_PASSED", "PARETOD_TEST_SET=1", "PARETOD_TEST_ABSENT"};
  // The failure shows stderr, on which this program lists the names of its environment.
  const std::string text = start_failure(config);
  EXPECT_THAT(text, HasSubstr("PARETOD_TEST_PASSED"));
  EXPECT_THAT(text, HasSubstr("PARETOD_TEST_SET"));
  EXPECT_THAT(text, HasSubstr("PARETOD_PROCESS"));
  EXPECT_THAT(text, HasSubstr("PATH"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("PARETOD_TEST_SECRET")));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("PARETOD_TEST_ABSENT")));
}

TEST(ProcessEvaluatorStart, TypeBindsItsConfiguration) {
  const EvaluatorType type = process_evaluator_type();
  const auto wrong = type.create({{"argvv", std::string("x")}, {"processes", std::int64_t{0}}}, {});
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().text(), HasSubstr("/argvv: "));
  EXPECT_THAT(wrong.error().text(), HasSubstr("/processes: "));
  const auto right = type.create({{"argv", std::vector<std::string>{"python3", program, "well"}},
                                  {"processes", std::int64_t{2}}},
                                 {.base_directory = PARETOD_SOURCE_DIR});
  ASSERT_TRUE(right.ok()) << right.error().text();
  EXPECT_EQ(right.value()->describe().type, "process");
  EXPECT_EQ(right.value()->describe().slots, 8U);
}

// ---- answering ---------------------------------------------------------------------------------

TEST_F(ProcessEvaluatorTest, AnswersWithEverythingThatWasSent) {
  start_with(misbehave());
  const EvaluationReply reply = reply_to("answer", 3.25);
  EXPECT_EQ(reply.kind, ReplyKind::done);
  ASSERT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
  EXPECT_EQ(reply.outcome.objectives.at(0).value, 6.5);
  EXPECT_EQ(reply.outcome.objectives.at(0).standard_error, 0.5);
  EXPECT_EQ(reply.outcome.objectives.at(0).count, 7U);  // the declared default fidelity
  EXPECT_GT(reply.outcome.cost.seconds, 0);
}

TEST_F(ProcessEvaluatorTest, SendsTheWholeRequest) {
  start_with(misbehave());
  EvaluationRequest sent = request("echo", 2, 30);
  sent.candidate.fidelity = 50;
  sent.candidate.replicate = 4;
  submit(sent);
  EXPECT_EQ(take(1).at(0).outcome.status, TrialStatus::ok);
  // The echo goes to stderr after the reply, so it may still be on its way.
  while (evaluator_->stderr_tails().at(0).find('\n') == std::string::npos) {
    std::this_thread::yield();
  }
  EXPECT_EQ(nlohmann::json::parse(evaluator_->stderr_tails().at(0)),
            nlohmann::json::parse(R"({"type":"evaluate","id":"job:1:1",
                "candidate":{"behave":"echo","x":2.0},"fidelity":50,"replicate":4,"seed":0,
                "params":{"factor":2.0},"deadline_s":30.0})"));
}

TEST_F(ProcessEvaluatorTest, AThousandRequestsAtOnce) {
  ProcessConfig config = misbehave();
  config.processes = 2;
  start_with(config);
  std::vector<EvaluationRequest> requests;
  for (int i = 0; i < 1000; ++i) requests.push_back(request("answer", i * 0.01));
  evaluator_->evaluate(std::move(requests), replies_.sink());
  std::map<double, int> by_pid;
  const auto replies = take(1000);
  ASSERT_EQ(replies.size(), 1000U);
  for (std::size_t i = 0; i < replies.size(); ++i) {
    ASSERT_EQ(replies[i].ticket, i + 1);
    ASSERT_EQ(replies[i].outcome.status, TrialStatus::ok) << replies[i].outcome.reason;
    EXPECT_EQ(replies[i].outcome.objectives[0].value, static_cast<double>(i) * 0.01 * 2);
    ++by_pid[replies[i].outcome.metrics[0].second];
  }
  EXPECT_EQ(by_pid.size(), 2U);
}

TEST_F(ProcessEvaluatorTest, TakesPartialLinesProgressAndNoise) {
  start_with(misbehave());
  EXPECT_EQ(reply_to("half", 4).outcome.objectives.at(0).value, 8);
  EXPECT_EQ(reply_to("stderr_flood", 6).outcome.objectives.at(0).value, 12);
}

TEST_F(ProcessEvaluatorTest, ProgressIsPassedOnBeforeTheResult) {
  start_with(misbehave());
  submit(request("progress", 5));
  const auto replies = take(101);
  for (std::size_t i = 0; i < 100; ++i) {
    ASSERT_EQ(replies[i].kind, ReplyKind::progress);
    EXPECT_EQ(replies[i].ticket, 1U);
    EXPECT_EQ(replies[i].done, static_cast<double>(i) / 100);
    EXPECT_EQ(replies[i].outcome.objectives.at(0).value, static_cast<double>(i));
    EXPECT_EQ(replies[i].outcome.objectives.at(0).count, i);
    EXPECT_EQ(replies[i].outcome.examples.at(0), std::vector<float>{static_cast<float>(i)});
    EXPECT_EQ(replies[i].worker, "process 0");
  }
  EXPECT_EQ(replies[100].kind, ReplyKind::done);
  EXPECT_EQ(replies[100].outcome.objectives.at(0).value, 10);
  // What comes after the result is dropped, and is no reason to end the process.
  EXPECT_EQ(reply_to("answer").outcome.status, TrialStatus::ok);
}

TEST_F(ProcessEvaluatorTest, CostAndExamplesArriveAsReported) {
  start_with(misbehave());
  const EvaluationReply reply = reply_to("cost");
  ASSERT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
  EXPECT_EQ(reply.outcome.cost, (Spend{9, 5, 70}));
  EXPECT_EQ(reply.outcome.examples, (std::vector<std::vector<float>>{{1, 0, 1}}));
}

TEST_F(ProcessEvaluatorTest, AnAttemptKeepsWhatItWroteToStderr) {
  start_with(misbehave());
  const EvaluationReply first = reply_to("stderr_flood");
  EXPECT_EQ(first.log.size(), 64U * 1024U);
  EXPECT_TRUE(first.log.ends_with("line 39999\n"));
  EXPECT_EQ(reply_to("answer").log, "");  // that was the other one's
  const EvaluationReply last = reply_to("exit");
  EXPECT_EQ(last.log, "out of cheese\n");
  EXPECT_EQ(last.worker, "process 0");
}

TEST_F(ProcessEvaluatorTest, ARequestThatFailedGoesElsewhere) {
  ProcessConfig config = misbehave();
  config.processes = 2;
  start_with(config);
  for (const std::string avoid : {"process 0", "process 1"}) {
    EvaluationRequest again = request("answer");
    again.avoid = avoid;
    submit(again);
    const EvaluationReply reply = take(1).at(0);
    EXPECT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
    EXPECT_EQ(reply.worker, avoid == "process 0" ? "process 1" : "process 0");
  }
}

TEST_F(ProcessEvaluatorTest, ARequestThatFailedRunsAlone) {
  start_with(misbehave());  // one process with four slots
  const EvaluationRequest late = request("late");
  submit(late);
  pid();  // answered in order, so `late` has arrived
  EvaluationRequest guilty = request("exit");
  guilty.avoid = "process 0";
  submit(guilty);
  submit(request("answer"));
  submit(request("answer"));
  // The process runs empty first: the guilty one cannot take `late` with it.
  EXPECT_EQ(replies_.count(), 0U);
  evaluator_->cancel(late.ticket);
  const auto replies = take(4);
  EXPECT_EQ(replies[0].outcome.status, TrialStatus::ok) << replies[0].outcome.reason;
  EXPECT_EQ(replies[1].kind, ReplyKind::fault);
  EXPECT_EQ(replies[2].outcome.status, TrialStatus::ok) << replies[2].outcome.reason;
  EXPECT_EQ(replies[3].outcome.status, TrialStatus::ok) << replies[3].outcome.reason;
}

TEST_F(ProcessEvaluatorTest, KeepsTheEndOfStderr) {
  start_with(misbehave());
  EXPECT_EQ(reply_to("stderr_flood").outcome.status, TrialStatus::ok);
  while (!evaluator_->stderr_tails().at(0).ends_with("line 39999\n")) std::this_thread::yield();
  EXPECT_EQ(evaluator_->stderr_tails().at(0).size(), 64U * 1024U);
}

TEST_F(ProcessEvaluatorTest, ErrorKindsBecomeReplies) {
  start_with(misbehave());
  EvaluationReply reply = reply_to("infeasible");
  EXPECT_EQ(reply.kind, ReplyKind::done);
  EXPECT_EQ(reply.outcome.status, TrialStatus::infeasible);
  EXPECT_EQ(reply.outcome.reason, "asked to be infeasible");
  reply = reply_to("transient");
  EXPECT_EQ(reply.kind, ReplyKind::transient);
  reply = reply_to("fatal");
  EXPECT_EQ(reply.kind, ReplyKind::fault);
  EXPECT_EQ(reply.outcome.status, TrialStatus::failed);
}

TEST_F(ProcessEvaluatorTest, FaultyResultsFailWithoutHarmToTheProcess) {
  start_with(misbehave());
  const double before = pid();
  for (const auto& [behave, reason] : std::map<std::string, std::string>{
           {"nan", "objective \"f\" has to be a finite number, not NaN"},
           {"infinity", "objective \"f\" has to be a finite number, not -Infinity"},
           {"missing", "lacks the objective \"f\""},
           {"text", "objective \"f\" has to be a finite number, not 12"},
           {"metric_nan", "metric \"loss\" has to be a finite number, not NaN"},
           {"negative_stderr", "stderr of objective \"f\""}}) {
    const EvaluationReply reply = reply_to(behave);
    EXPECT_EQ(reply.kind, ReplyKind::done) << behave;
    EXPECT_EQ(reply.outcome.status, TrialStatus::failed) << behave;
    EXPECT_THAT(reply.outcome.reason, HasSubstr(reason));
  }
  EXPECT_EQ(pid(), before);
}

TEST_F(ProcessEvaluatorTest, ChecksJobsAgainstTheHello) {
  start_with(misbehave());
  EXPECT_TRUE(evaluator_->check(*context_).empty());
  EvaluationContext job = *context_;
  auto parameters = job.space.parameters();
  parameters[0].choices = {"answer"};
  parameters[1].low = -1;
  job.space = SearchSpace::make(parameters).value();
  job.params = {{"factor", 3.0}};
  EXPECT_TRUE(evaluator_->check(job).empty());  // narrower is fine
  parameters[0].choices = {"answer", "dance"};
  parameters[1].high = 11;
  job.space = SearchSpace::make(parameters).value();
  job.params = {{"factor", 101.0}};
  const std::string text = invalid("", evaluator_->check(job)).text();
  EXPECT_THAT(text, HasSubstr("/space/0/choices/1"));
  EXPECT_THAT(text, HasSubstr("/space/1/high"));
  EXPECT_THAT(text, HasSubstr("/evaluator/params/factor"));
  parameters.pop_back();
  job.space = SearchSpace::make(parameters).value();
  EXPECT_THAT(invalid("", evaluator_->check(job)).text(),
              HasSubstr("/space: the evaluator needs the parameter \"x\""));
}

// ---- dying -------------------------------------------------------------------------------------

TEST_F(ProcessEvaluatorTest, EveryWayToBreakIsAFaultNamedAndRepaired) {
  start_with(misbehave());
  for (const auto& [behave, reason] : std::map<std::string, std::string>{
           {"exit", "exited with status 7; the last lines of its stderr:\nout of cheese"},
           {"killed", "was killed by signal 9"},
           {"garbage", "belongs on stderr): loading the model..."},
           {"flood", "wrote a line longer than 1048576 bytes to stdout: xxx"},
           {"wrong_id", "answered \"nobody:1:1\""},
           {"no_id", "a message needs the \"id\""},
           {"odd_error", "the kind of an error has to be"},
           {"deep", "nested deeper"},
           {"bad_bytes", "is not a message"},
           {"close", "closed its stdin or stdout"}}) {
    const double before = pid();
    const EvaluationReply reply = reply_to(behave);
    EXPECT_EQ(reply.kind, ReplyKind::fault) << behave;
    EXPECT_EQ(reply.outcome.status, TrialStatus::failed) << behave;
    EXPECT_THAT(reply.outcome.reason, HasSubstr(reason)) << behave;
    EXPECT_NE(pid(), before) << behave;
  }
}

TEST_F(ProcessEvaluatorTest, ASecondAnswerToOneRequestIsAFault) {
  start_with(misbehave());
  const double before = pid();
  submit(request("hang"));
  submit(request("twice", 3));
  const auto replies = take(2);
  EXPECT_EQ(replies[0].kind, ReplyKind::fault);
  EXPECT_THAT(replies[0].outcome.reason, HasSubstr("has not answered"));
  EXPECT_EQ(replies[1].outcome.objectives.at(0).value, 6);  // the first one counts
  EXPECT_NE(pid(), before);
}

TEST_F(ProcessEvaluatorTest, ADyingProcessTakesOnlyItsOwnAttempts) {
  ProcessConfig config = misbehave();
  config.processes = 2;
  start_with(config);
  // Two hang, one in each process; then one process dies.
  submit(request("hang"));
  submit(request("hang"));
  submit(request("exit"));
  const auto replies = take(2);
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_THAT(replies[0].outcome.reason, HasSubstr("exited with status 7"));
  EXPECT_THAT(replies[1].outcome.reason, HasSubstr("exited with status 7"));
  EXPECT_EQ(replies[1].ticket, 3U);
  // The other one lives, and so does the request that hangs in it.
  for (int i = 0; i < 20; ++i) EXPECT_EQ(reply_to("answer").outcome.status, TrialStatus::ok);
  EXPECT_EQ(replies_.count(), 0U);
}

TEST_F(ProcessEvaluatorTest, ResultsWrittenBeforeTheEndCount) {
  start_with(misbehave());
  EXPECT_EQ(reply_to("quit_politely", 2).outcome.objectives.at(0).value, 4);
  // Until its end is noticed, the process may be given another request, and lose it.
  EvaluationReply reply = reply_to("answer");
  while (reply.kind == ReplyKind::fault) {
    EXPECT_THAT(reply.outcome.reason, HasSubstr("exited with status 0"));
    reply = reply_to("answer");
  }
  EXPECT_EQ(reply.outcome.status, TrialStatus::ok);
}

TEST_F(ProcessEvaluatorTest, WaitingRequestsFailWhenNoProcessStarts) {
  char directory[] = "/tmp/paretod-test-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const std::string marker = std::string(directory) + "/started";
  start_with(misbehave({"once", marker}));
  submit(request("exit"));
  EXPECT_THAT(take(1).at(0).outcome.reason, HasSubstr("exited with status 7"));
  // No process comes up any more.
  const EvaluationReply reply = reply_to("answer");
  EXPECT_EQ(reply.kind, ReplyKind::transient);
  EXPECT_THAT(reply.outcome.reason, HasSubstr("the licence server is gone"));
  // Until whatever was wrong is put right.
  ASSERT_EQ(std::remove(marker.c_str()), 0);
  EvaluationReply later = reply_to("answer");
  while (later.kind == ReplyKind::transient) later = reply_to("answer");
  EXPECT_EQ(later.outcome.status, TrialStatus::ok);
  std::remove(marker.c_str());
  rmdir(directory);
}

// ---- stopping ----------------------------------------------------------------------------------

TEST_F(ProcessEvaluatorTest, ACancelReachesTheProcess) {
  start_with(misbehave());
  const double before = pid();
  const EvaluationRequest late = request("late");
  submit(late);
  EXPECT_EQ(pid(), before);  // answered in order, so the first one has arrived
  evaluator_->cancel(late.ticket);
  const EvaluationReply reply = take(1).at(0);
  // This evaluator answers a cancelled request with the result it has.
  EXPECT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
  EXPECT_EQ(pid(), before);
}

TEST_F(ProcessEvaluatorTest, ACancelledRequestThatWaitsIsDropped) {
  start_with(misbehave());
  for (int i = 0; i < 4; ++i) submit(request("late"));  // fills all slots
  const EvaluationRequest waiting = request("answer");
  submit(waiting);
  evaluator_->cancel(waiting.ticket);
  const EvaluationReply reply = take(1).at(0);
  EXPECT_EQ(reply.ticket, waiting.ticket);
  EXPECT_EQ(reply.kind, ReplyKind::done);
  EXPECT_EQ(reply.outcome.reason, "cancelled");
}

TEST_F(ProcessEvaluatorTest, AnUnheededCancelEndsTheProcess) {
  ProcessConfig config = misbehave();
  config.grace_s = 0.1;
  start_with(config);
  const double before = pid();
  const EvaluationRequest hang = request("hang");
  const EvaluationRequest bystander = request("hang");
  submit(hang);
  submit(bystander);
  EXPECT_EQ(pid(), before);  // answered in order, so the others have arrived
  evaluator_->cancel(hang.ticket);
  const auto replies = take(2);
  EXPECT_EQ(replies[0].kind, ReplyKind::done);
  EXPECT_EQ(replies[0].outcome.reason, "cancelled");
  EXPECT_EQ(replies[1].kind, ReplyKind::transient);
  EXPECT_THAT(replies[1].outcome.reason, HasSubstr("did not answer within 0.1 s after a cancel"));
  EXPECT_NE(pid(), before);
}

TEST_F(ProcessEvaluatorTest, ADeadlineIsEnforced) {
  ProcessConfig config = misbehave();
  config.grace_s = 0.1;
  start_with(config);
  const double before = pid();
  const EvaluationReply reply = reply_to("hang", 1, 0.2);
  EXPECT_EQ(reply.kind, ReplyKind::fault);
  EXPECT_THAT(reply.outcome.reason, HasSubstr("no answer within the deadline of 0.2 s"));
  EXPECT_NE(pid(), before);
}

TEST_F(ProcessEvaluatorTest, ALateResultWithinTheGraceCounts) {
  ProcessConfig config = misbehave();
  config.grace_s = 60;
  start_with(config);
  const double before = pid();
  // Answers only when the deadline's cancel arrives.
  EXPECT_EQ(reply_to("late", 1, 0.05).outcome.status, TrialStatus::ok);
  EXPECT_EQ(pid(), before);
}

TEST_F(ProcessEvaluatorTest, GrandchildrenEndWithAProcessThatHangs) {
  ProcessConfig config = misbehave();
  config.grace_s = 0.1;
  start_with(config);
  submit(request("fork"));
  std::istringstream words(first_line_of_stderr());
  std::vector<int> watches;
  for (pid_t grandchild = 0; words >> grandchild;) {
    watches.push_back(static_cast<int>(syscall(SYS_pidfd_open, grandchild, 0)));
    ASSERT_GE(watches.back(), 0);
  }
  ASSERT_EQ(watches.size(), 4U);
  evaluator_->cancel(1);
  EXPECT_EQ(take(1).at(0).outcome.reason, "cancelled");
  for (const int watch : watches) {
    pollfd ended{watch, POLLIN, 0};
    EXPECT_EQ(poll(&ended, 1, 60'000), 1) << "a grandchild lives on";
    close(watch);
  }
  EXPECT_EQ(reply_to("answer").outcome.status, TrialStatus::ok);
}

TEST_F(ProcessEvaluatorTest, LimitsHold) {
  ProcessConfig config = misbehave();
  config.memory_mb = 512;
  config.cpu_s = 1;
  config.file_mb = 1;
  start_with(config);
  for (const auto& [behave, reason] : std::map<std::string, std::string>{
           {"allocate", "MemoryError"},
           {"burn", "was killed by signal 24 (CPU time limit exceeded)"},
           {"big_file", "File too large"}}) {
    const EvaluationReply reply = reply_to(behave);
    EXPECT_EQ(reply.kind, ReplyKind::fault) << behave;
    EXPECT_THAT(reply.outcome.reason, HasSubstr(reason)) << behave;
    EXPECT_EQ(reply_to("answer").outcome.status, TrialStatus::ok) << behave;
  }
}

TEST_F(ProcessEvaluatorTest, TheWholeProcessGroupEnds) {
  ProcessConfig config = misbehave({"stubborn"});  // ignores SIGTERM, and has a child
  config.grace_s = 0.1;
  start_with(config);
  pid_t grandchild = 0;
  while (std::sscanf(evaluator_->stderr_tails().at(0).c_str(), "grandchild %d\n", &grandchild) !=
         1) {
    std::this_thread::yield();
  }
  const auto watch = static_cast<int>(syscall(SYS_pidfd_open, grandchild, 0));
  ASSERT_GE(watch, 0);
  evaluator_.reset();
  pollfd ended{watch, POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 60'000), 1) << "the grandchild lives on";
  close(watch);
}

}  // namespace
}  // namespace paretod
