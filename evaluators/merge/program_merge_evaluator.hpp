#pragma once
// Merged models scored by a program: merges waiting candidates together into files in shared
// memory, hands each with its file to a ProcessEvaluator, and removes the file when the request is
// answered.  See merge_evaluator.hpp.
//
// One thread merges and removes; it waits while the files in use fill what memory they may take.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "evaluators/merge/merge_evaluator.hpp"
#include "evaluators/merge/weights_directory.hpp"
#include "evaluators/process/process_evaluator.hpp"

namespace paretod {

class ProgramMergeEvaluator final : public Evaluator {
 public:
  static Result<std::unique_ptr<Evaluator>> create(MergeSetup setup,
                                                   std::unique_ptr<ProcessEvaluator> program,
                                                   WeightsDirectory directory, std::size_t slots);
  ~ProgramMergeEvaluator() override;

  [[nodiscard]] EvaluatorDescription describe() const override { return description_; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) override;
  void cancel(std::uint64_t ticket) override;
  [[nodiscard]] Result<std::string> recipe(const EvaluationContext& context,
                                           const Candidate& candidate) const override;

 private:
  struct Waiting {
    EvaluationRequest request;
    std::shared_ptr<const Reply> reply;
  };
  struct Merged {
    std::string folder;
    std::shared_ptr<const Reply> reply;
  };

  ProgramMergeEvaluator(MergeSetup setup, std::unique_ptr<ProcessEvaluator> program,
                        WeightsDirectory directory, EvaluatorDescription description);
  void work();
  /// Merges and hands over; replies to what cannot be merged.
  void merge(std::vector<Waiting> batch);
  Result<void> merge_into(const std::vector<MergeCandidate>& candidates,
                          const std::vector<std::string>& folders);
  /// From the program, on its thread.
  void pass_on(std::vector<EvaluationReply> replies);
  static void answer(const Waiting& waiting, TrialStatus status, const std::string& reason);

  const MergeSetup setup_;
  const EvaluatorDescription description_;
  const std::uint64_t model_bytes_;
  const std::size_t most_files_;  ///< that fit
  WeightsDirectory directory_;    // the worker's

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  std::map<std::uint64_t, Merged> merged_;  ///< by ticket
  std::vector<std::string> finished_;       ///< folders to remove
  std::size_t files_ = 0;                   ///< on disk or about to be
  std::vector<std::uint64_t> cancelled_;    ///< while they were being merged
  bool stopping_ = false;

  std::unique_ptr<ProcessEvaluator> program_;  // its replies use the above
  std::thread thread_;
};

}  // namespace paretod
