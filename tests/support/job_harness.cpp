#include "tests/support/job_harness.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "adapters/json/parse.hpp"
#include "evaluators/registry.hpp"
#include "optimizers/registry.hpp"

namespace paretod {

using nlohmann::json;

struct FunctionEvaluator::State {
  Function function;
  EvaluatorDescription description;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::pair<EvaluationRequest, Reply>> queue;
  bool holding = false;
  bool stopping = false;
  std::size_t busy = 0;
  std::size_t most = 0;
  std::size_t cancelled = 0;
  std::vector<std::thread> threads;

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return stopping || (!queue.empty() && !holding); });
      if (stopping) return;
      auto [request, reply] = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      EvaluationReply answer = function(request);
      answer.ticket = request.ticket;
      lock.lock();
      --busy;
      lock.unlock();
      std::vector<EvaluationReply> answers;
      answers.push_back(std::move(answer));
      reply(std::move(answers));
      lock.lock();
    }
  }
};

namespace {

EvaluatorDescription plain(std::size_t slots, bool paid) {
  EvaluatorDescription description;
  description.slots = slots;
  description.paid = paid;
  return description;
}

}  // namespace

FunctionEvaluator::FunctionEvaluator(Function function, std::size_t slots, bool paid)
    : FunctionEvaluator(std::move(function), plain(slots, paid)) {}

FunctionEvaluator::FunctionEvaluator(Function function, EvaluatorDescription description)
    : state_(std::make_shared<State>()) {
  state_->function = std::move(function);
  state_->description = std::move(description);
  state_->description.type = "test";
  for (std::size_t i = 0; i < state_->description.slots; ++i) {
    state_->threads.emplace_back([state = state_] { state->work(); });
  }
}

FunctionEvaluator::~FunctionEvaluator() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

EvaluatorDescription FunctionEvaluator::describe() const {
  return state_->description;
}

void FunctionEvaluator::evaluate(std::vector<EvaluationRequest> requests, Reply reply) {
  {
    const std::lock_guard lock(state_->mutex);
    for (auto& request : requests) state_->queue.emplace_back(std::move(request), reply);
    state_->busy += requests.size();
    state_->most = std::max(state_->most, state_->busy);
  }
  state_->changed.notify_all();
}

void FunctionEvaluator::cancel(std::uint64_t ticket) {
  std::unique_lock lock(state_->mutex);
  auto& queue = state_->queue;
  const auto found = std::find_if(queue.begin(), queue.end(),
                                  [&](const auto& e) { return e.first.ticket == ticket; });
  if (found == queue.end()) return;
  const Reply reply = found->second;
  queue.erase(found);
  --state_->busy;
  ++state_->cancelled;
  lock.unlock();
  reply({{ticket, ReplyKind::done, Outcome::failure(TrialStatus::failed, "cancelled")}});
}

void FunctionEvaluator::hold() {
  const std::lock_guard lock(state_->mutex);
  state_->holding = true;
}

void FunctionEvaluator::release() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->holding = false;
  }
  state_->changed.notify_all();
}

void FunctionEvaluator::wait_until_held(std::size_t count) {
  std::unique_lock lock(state_->mutex);
  while (state_->queue.size() < count) {
    state_->changed.wait(lock);
  }
}

std::size_t FunctionEvaluator::most_at_once() const {
  const std::lock_guard lock(state_->mutex);
  return state_->most;
}

std::size_t FunctionEvaluator::cancelled() const {
  const std::lock_guard lock(state_->mutex);
  return state_->cancelled;
}

EvaluationReply two_valleys(const EvaluationRequest& request) {
  const Point& x = request.candidate.point;
  EvaluationReply reply;
  reply.outcome.objectives = {{x[0] * x[0] + x[1] * x[1]}, {(x[0] - 1) * (x[0] - 1) + x[1] * x[1]}};
  return reply;
}

std::unique_ptr<Catalog> test_catalog(std::unique_ptr<Evaluator> test) {
  auto evaluators = builtin_evaluators({.base_directory = ".", .threads = 2});
  if (test) evaluators.emplace_back("test", std::move(test));
  return std::move(Catalog::make(builtin_optimizers(), std::move(evaluators)).value());
}

JobSpec spec_from(const std::string& text, const Catalog& catalog) {
  const auto document = parse_json(text);
  EXPECT_TRUE(document.ok()) << text;
  auto spec = job_spec_from_json(*document, catalog);
  EXPECT_TRUE(spec.ok()) << spec.error().text();
  return std::move(*spec);
}

std::vector<std::pair<std::string, std::string>> suitable_jobs(std::size_t parallelism) {
  const std::string common = R"("seed":7,"parallelism":)" + std::to_string(parallelism);
  const std::string toy =
      R"("evaluator":"lcsc-toy","space":[{"name":"alpha","type":"affine","size":6}],)";
  const std::string ddim =
      R"("evaluator":"ddim","space":[{"name":"schedule","type":"schedule","low":0,"high":999,)"
      R"("whole":true,"least":2,"most":5}],)";
  return {
      {"autodiffusion",
       R"({"optimizer":"autodiffusion",)" + ddim + R"("budget":{"trials":48},)" + common + "}"},
      {"autodiffusion",
       R"({"optimizer":{"name":"autodiffusion","params":{"mode":"paper","population":12,)"
       R"("mutants":6,"crossovers":3,"rounds":3}},)" +
           ddim + R"("budget":{"trials":60},)" + common + "}"},
      {"evo_merging", R"({"optimizer":{"name":"evo_merging","params":{"population":4}},)"
                      R"("evaluator":"evo-pool","space":[)"
                      R"({"name":"alpha.a","type":"real","low":0,"high":1},)"
                      R"({"name":"alpha.b","type":"real","low":0,"high":1},)"
                      R"({"name":"beta.a","type":"real","low":-1.5,"high":1.5},)"
                      R"({"name":"beta.b","type":"real","low":-1.5,"high":1.5}],)"
                      R"("budget":{"trials":90},)" +
                          common + "}"},
      {"random",
       R"({"optimizer":"random","evaluator":"zdt1","budget":{"trials":24},)" + common + "}"},
      {"pagmo", R"({"optimizer":{"name":"pagmo","params":{"population":8}},"evaluator":"zdt1",)"
                R"("budget":{"trials":24},)" +
                    common + "}"},
      {"sobol",
       R"({"optimizer":"sobol","evaluator":"zdt1","budget":{"trials":24},)" + common + "}"},
      {"nsga2", R"({"optimizer":{"name":"nsga2","params":{"population":8}},"evaluator":"zdt1",)"
                R"("noise":{"confidence":0.9,"replicates":3},"budget":{"trials":32},)" +
                    common + "}"},
      {"nsga3", R"({"optimizer":{"name":"nsga3","params":{"population":12,"divisions":3}},)"
                R"("evaluator":"dtlz2","budget":{"trials":32},)" +
                    common + "}"},
      {"map", R"({"optimizer":{"name":"map","params":{"tolerance":0}},"evaluator":"zdt1","space":[)"
              R"({"name":"x","type":"real","low":0,"high":1},)"
              R"({"name":"y","type":"real","low":0,"high":1}],"budget":{"trials":24},)" +
                  common + "}"},
      {"cmaes", R"({"optimizer":"cmaes","evaluator":"sphere","space":[)"
                R"({"name":"x","type":"real","low":-5,"high":5},)"
                R"({"name":"y","type":"real","low":-5,"high":5}],)"
                R"("stagnation":{"trials":10},"budget":{"trials":40},)" +
                    common + "}"},
      {"lcsc", R"({"optimizer":{"name":"lcsc","params":{"selection_candidates":3,)"
               R"("selection_replicates":2,"report_replicates":2}},)" +
                   toy + R"("budget":{"trials":60},)" + common + "}"},
      {"lcsc",
       R"({"optimizer":{"name":"lcsc","params":{"search":"cma_es","selection_candidates":3,)"
       R"("selection_replicates":2,"report_replicates":2}},)" +
           toy + R"("budget":{"trials":60},)" + common + "}"},
  };
}

void wait_until_told(Job& job, std::size_t trials) {
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t events = 0;
  const auto follower = job.follow([&](EventId, const Event&) {
    const std::lock_guard lock(mutex);
    ++events;
    changed.notify_all();
  });
  std::size_t seen = 0;
  while (job.with_state([](JobState& state) { return state.told_order().size(); }) < trials) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return events > seen; });
    seen = events;
  }
  job.unfollow(follower);
}

std::vector<std::pair<EventId, std::string>> raw_log(LogBackend& backend, const std::string& job) {
  std::vector<std::pair<EventId, std::string>> events;
  const auto top = backend.read(job, {}, [&](EventId id, std::string_view text) {
    events.emplace_back(id, text);
    return true;
  });
  EXPECT_TRUE(top.ok()) << top.error().text();
  return events;
}

std::vector<std::string> canonical_log(LogBackend& backend, const std::string& job) {
  std::vector<std::string> lines;
  for (const auto& [id, text] : raw_log(backend, job)) {
    json event = json::parse(text);
    if (event["e"] == "owner") continue;
    event.erase("t");
    if (event["e"] == "told") event.erase("s");
    lines.push_back(event.dump());
  }
  return lines;
}

std::unique_ptr<MemoryBackend> truncated(LogBackend& backend, const std::string& job,
                                         std::size_t events) {
  std::vector<std::string> kept;
  for (const auto& [id, text] : raw_log(backend, job)) {
    if (kept.size() < events) kept.push_back(text);
  }
  auto copy = std::make_unique<MemoryBackend>();
  EXPECT_TRUE(copy->create(job, kept).ok());
  return copy;
}

namespace {
void wait_for_end(JobManager& manager) {
  for (const auto& job : manager.list()) {
    job->wait([](JobStatus) { return false; });
    EXPECT_EQ(job->trouble(), "");
  }
}
}  // namespace

std::string run_to_end(LogBackend& backend, const Catalog& catalog, const JobSpec& spec) {
  JobManager manager(backend, catalog, {});
  const auto created = manager.create(spec, "", "");
  EXPECT_TRUE(created.ok());
  wait_for_end(manager);
  return created->job->id();
}

void recover_to_end(LogBackend& backend, const Catalog& catalog) {
  JobManager manager(backend, catalog, {});
  EXPECT_TRUE(manager.recover().ok());
  EXPECT_TRUE(manager.unreadable().empty());
  wait_for_end(manager);
}

}  // namespace paretod
