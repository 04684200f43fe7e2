#include "evaluators/merge/program_merge_evaluator.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "adapters/safetensors/model_files.hpp"
#include "evaluators/declared.hpp"
#include "evaluators/merge/merge_outputs.hpp"

namespace paretod {

Result<std::unique_ptr<Evaluator>> ProgramMergeEvaluator::create(
    MergeSetup setup, std::unique_ptr<ProcessEvaluator> program, WeightsDirectory directory,
    std::size_t slots) {
  EvaluatorDescription description = program->describe();
  if (description.space) {
    return invalid("the program of a merge evaluator is not right",
                   {{"/argv",
                     "the program declares a space of its own, and the space of a merge "
                     "is its coefficients; leave \"space\" out of its hello"}});
  }
  if (setup.sources->output_bytes() > setup.memory_bytes) {
    return invalid(
        "the merged model does not fit",
        {{"/merge_memory_mb", "leaves no room for a merged model of " +
                                  std::to_string(setup.sources->output_bytes() >> 20) + " MiB"}});
  }
  description.type = "merge";
  description.summary = "Models merged by " +
                        std::string(name_of(setup.space.recipe().rule.method)) + ", scored by " +
                        (description.summary.empty() ? "a program" : description.summary);
  // Some are merged while the program works on others.
  description.slots = slots > 0 ? slots : 2 * description.slots;
  description.version = setup.sources->version() + "/" + description.version;
  description.space = setup.space.parameters();
  return std::unique_ptr<Evaluator>(new ProgramMergeEvaluator(
      std::move(setup), std::move(program), std::move(directory), std::move(description)));
}

ProgramMergeEvaluator::ProgramMergeEvaluator(MergeSetup setup,
                                             std::unique_ptr<ProcessEvaluator> program,
                                             WeightsDirectory directory,
                                             EvaluatorDescription description)
    : setup_(std::move(setup)),
      description_(std::move(description)),
      model_bytes_(std::max<std::uint64_t>(setup_.sources->output_bytes(), 1)),
      most_files_(std::max<std::uint64_t>(setup_.memory_bytes / model_bytes_, 1)),
      directory_(std::move(directory)),
      program_(std::move(program)),
      thread_([this] { work(); }) {}

ProgramMergeEvaluator::~ProgramMergeEvaluator() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  program_.reset();
}

Problems ProgramMergeEvaluator::check(const EvaluationContext& context) const {
  return check_declared(description_, context);
}

Result<std::string> ProgramMergeEvaluator::recipe(const EvaluationContext& context,
                                                  const Candidate& candidate) const {
  return recipe_text(setup_.space.recipe_of(context.space, candidate));
}

void ProgramMergeEvaluator::evaluate(std::vector<EvaluationRequest> requests, Reply reply) {
  const auto shared = std::make_shared<const Reply>(std::move(reply));
  {
    const std::lock_guard lock(mutex_);
    for (EvaluationRequest& request : requests) waiting_.push_back({std::move(request), shared});
  }
  changed_.notify_all();
}

void ProgramMergeEvaluator::cancel(std::uint64_t ticket) {
  Waiting dropped;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& waiting) {
      return waiting.request.ticket == ticket;
    });
    if (found == waiting_.end()) {
      if (!merged_.contains(ticket)) cancelled_.push_back(ticket);
    } else {
      dropped = std::move(*found);
      waiting_.erase(found);
    }
  }
  if (dropped.reply) {
    answer(dropped, TrialStatus::failed, "cancelled");
  } else {
    program_->cancel(ticket);
  }
}

void ProgramMergeEvaluator::answer(const Waiting& waiting, TrialStatus status,
                                   const std::string& reason) {
  (*waiting.reply)({{waiting.request.ticket, ReplyKind::done, Outcome::failure(status, reason)}});
}

void ProgramMergeEvaluator::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] {
      return stopping_ || !finished_.empty() || (!waiting_.empty() && files_ < most_files_);
    });
    if (stopping_) return;
    const std::vector<std::string> finished = std::exchange(finished_, {});
    std::vector<Waiting> batch;
    const std::size_t most = std::min(most_files_ - files_, setup_.engine->candidates_per_pass());
    while (!waiting_.empty() && batch.size() < most) {
      batch.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    files_ += batch.size();
    cancelled_.clear();
    lock.unlock();
    for (const std::string& folder : finished) WeightsDirectory::remove(folder);
    if (!batch.empty()) merge(std::move(batch));
    lock.lock();
    files_ -= finished.size();
  }
}

void ProgramMergeEvaluator::merge(std::vector<Waiting> batch) {
  const MergeRule& rule = setup_.space.recipe().rule;
  std::vector<MergeCandidate> candidates;
  std::vector<Waiting> ready;
  std::size_t dropped = 0;
  for (Waiting& waiting : batch) {
    const EvaluationRequest& request = waiting.request;
    MergeCandidate candidate = setup_.space.numbers(request.context->space, request.candidate);
    const Problems problems = in_recipe(
        setup_.space.recipe(), check_candidate(rule, setup_.sources->source_count(), candidate));
    if (problems.empty()) {
      candidates.push_back(std::move(candidate));
      ready.push_back(std::move(waiting));
    } else {
      answer(waiting, TrialStatus::infeasible, problems[0].pointer + " " + problems[0].message);
      ++dropped;
    }
  }
  std::vector<std::string> folders;
  Result<void> merged;
  for (std::size_t i = 0; i < ready.size() && merged; ++i) {
    auto folder = directory_.add();
    if (folder) {
      folders.push_back(std::move(*folder));
    } else {
      merged = folder.error();
    }
  }
  if (merged && !ready.empty()) merged = merge_into(candidates, folders);
  if (!merged) {
    for (const std::string& folder : folders) WeightsDirectory::remove(folder);
    // Another attempt may find room.
    const bool again = merged.error().kind == ErrorKind::exhausted;
    for (const Waiting& waiting : ready) {
      EvaluationReply reply{waiting.request.ticket, again ? ReplyKind::transient : ReplyKind::done,
                            Outcome::failure(TrialStatus::failed, merged.error().text())};
      (*waiting.reply)({std::move(reply)});
    }
    dropped += ready.size();
    ready.clear();
  }
  std::vector<EvaluationRequest> requests;
  std::vector<std::uint64_t> cancelled;
  {
    const std::lock_guard lock(mutex_);
    files_ -= dropped;
    for (std::size_t i = 0; i < ready.size(); ++i) {
      EvaluationRequest& request = ready[i].request;
      request.weights = folders[i] + "/" + std::string(model_file_name);
      merged_[request.ticket] = {folders[i], ready[i].reply};
      requests.push_back(std::move(request));
    }
    for (const std::uint64_t ticket : std::exchange(cancelled_, {})) {
      if (merged_.contains(ticket)) cancelled.push_back(ticket);
    }
  }
  if (!requests.empty()) {
    program_->evaluate(std::move(requests), [this](std::vector<EvaluationReply> replies) {
      pass_on(std::move(replies));
    });
  }
  for (const std::uint64_t ticket : cancelled) program_->cancel(ticket);
}

Result<void> ProgramMergeEvaluator::merge_into(const std::vector<MergeCandidate>& candidates,
                                               const std::vector<std::string>& folders) {
  std::vector<SafetensorsWriter> writers;
  for (const std::string& folder : folders) {
    auto writer =
        SafetensorsWriter::create(folder, setup_.sources->layouts(),
                                  std::numeric_limits<std::uint64_t>::max(), {{"format", "pt"}});
    if (!writer) return writer.error();
    writers.push_back(std::move(*writer));
  }
  FileOutput output(writers);
  const auto merged =
      setup_.engine->merge(candidates, output, [this](std::uint64_t, std::uint64_t) {
        const std::lock_guard lock(mutex_);
        return !stopping_;
      });
  if (!merged) return merged;
  for (SafetensorsWriter& writer : writers) {
    if (auto committed = writer.commit(); !committed) return committed;
  }
  return {};
}

void ProgramMergeEvaluator::pass_on(std::vector<EvaluationReply> replies) {
  std::map<std::shared_ptr<const Reply>, std::vector<EvaluationReply>> answers;
  {
    const std::lock_guard lock(mutex_);
    for (EvaluationReply& reply : replies) {
      const auto found = merged_.find(reply.ticket);
      if (found == merged_.end()) continue;
      const auto to = found->second.reply;
      if (reply.kind != ReplyKind::progress) {
        finished_.push_back(std::move(found->second.folder));
        merged_.erase(found);
      }
      answers[to].push_back(std::move(reply));
    }
  }
  changed_.notify_all();
  for (auto& [to, some] : answers) (*to)(std::move(some));
}

}  // namespace paretod
