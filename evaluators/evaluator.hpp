#pragma once
// What an evaluator is to the daemon: something that takes requests, a few at a time, and replies
// to each exactly once, in any order, from any thread.  In-process evaluators exist for speed;
// everything else speaks the evaluator protocol (DESIGN 6) behind this same interface.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "optimizers/core/params.hpp"
#include "optimizers/core/result.hpp"
#include "optimizers/core/space.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

/// What an evaluator declares of itself, so that a job spec need not repeat it.
struct EvaluatorDescription {
  std::string type;       ///< "builtin", "process", "diffusion", ...
  std::string summary;    ///< one sentence
  std::size_t slots = 1;  ///< requests it works on at once
  /// Nothing in this process works on its requests: workers and clients lease them (DESIGN 7).
  bool leased = false;
  /// Of the evaluator's code and data, if it says: outcomes of another version are not reused.
  std::string version = {};
  /// Declared space; empty when it takes the job's.
  std::optional<std::vector<Parameter>> space;
  /// Declared objectives; empty when it takes the job's.
  std::vector<Objective> objectives;
  /// Names of metrics it reports beside the objectives.
  std::vector<std::string> metrics;
  /// What Candidate::fidelity counts ("images"), and the value that 0 stands for.
  std::string fidelity_unit = {};
  std::uint64_t default_fidelity = 0;
  /// Evaluations cost money: an attempt must be durable in the log before it starts.
  bool paid = false;
  /// It keeps by itself what it paid for: an attempt that was lost may be made again, and pays only
  /// for what is missing.
  bool resumable = false;
  /// What an attempt may use up at most; 0 where it does not say.
  Spend worst_case = {};
  /// Of Spend::money_micros, "USD"; empty unless paid.
  std::string currency = {};
  /// Per-job parameters ("/evaluator/params").
  std::vector<FieldInfo> params;
};

/// The part of a job that every request of it shares.
struct EvaluationContext {
  std::string job;
  SearchSpace space;
  std::vector<Objective> objectives;
  ParamValues params;
  std::uint64_t seed = 0;  ///< the job's; an evaluator's noise may depend on it
};

/// One attempt at one trial.
struct EvaluationRequest {
  std::uint64_t ticket = 0;  ///< names the request in its reply; unique within the process
  std::shared_ptr<const EvaluationContext> context;
  TrialNumber trial = 0;
  std::uint32_t attempt = 1;
  Candidate candidate;
  double deadline_s = 0;  ///< wall seconds this attempt may take; 0 is unlimited
  /// Who failed at this trial before (EvaluationReply::worker): another one should try, if there
  /// is one.
  std::string avoid = {};
  /// A safetensors file with the weights that the candidate stands for, which exists until the
  /// reply; empty: none.  Set by evaluators that prepare them for a program (evaluators/merge).
  std::string weights = {};

  /// The idempotency key "job:trial:attempt".
  [[nodiscard]] std::string id() const {
    return context->job + ":" + std::to_string(trial) + ":" + std::to_string(attempt);
  }
};

enum class ReplyKind {
  progress,   ///< not an answer yet: what is known so far
  done,       ///< `outcome` is final: ok, infeasible, or failed for good
  transient,  ///< worth another attempt; outcome.reason says why
  fault,      ///< the evaluator says fatal, or it crashed or hung: a second one ends the trial
};

struct EvaluationReply {
  std::uint64_t ticket = 0;
  ReplyKind kind = ReplyKind::done;
  /// progress: objectives measured so far (empty, or one per objective; those of unknown value are
  /// NaN), and `examples` measured so far.
  Outcome outcome;
  /// progress: the share that is done, 0 to 1.
  double done = 0;
  /// False: nobody learnt what it used up, as after a crash; it is billed at its worst case.
  bool cost_known = true;
  /// Which process or machine worked on it, for people and for EvaluationRequest::avoid.
  std::string worker = {};
  /// What the attempt wrote to stderr, its last 64 KiB; requests that a process works on at once
  /// share what it wrote meanwhile.
  std::string log = {};
};

class Evaluator {
 public:
  /// Answers to one or more requests, each answered exactly once, after any number of progress
  /// replies; from any thread; must not block.
  using Reply = std::function<void(std::vector<EvaluationReply>)>;

  /// Cancels what is running; no reply is made after the destructor returns.
  virtual ~Evaluator() = default;

  /// Constant after construction.
  [[nodiscard]] virtual EvaluatorDescription describe() const = 0;
  /// Refuses jobs it cannot evaluate, before they start; pointers into the job spec.
  [[nodiscard]] virtual Problems check(const EvaluationContext& context) const = 0;
  /// Hands over requests; never blocks, never throws.  The caller keeps at most `slots`
  /// unanswered.  `reply` stays valid until every request is answered.
  virtual void evaluate(std::vector<EvaluationRequest> requests, Reply reply) = 0;
  /// Best effort: the reply may still be the result.  Unknown tickets are ignored.
  virtual void cancel(std::uint64_t ticket) = 0;
  /// What a candidate of it stands for, as a document to keep: of merged models the recipe
  /// (evaluators/merge/merge_recipe.hpp).  From any thread.
  [[nodiscard]] virtual Result<std::string> recipe(const EvaluationContext& /*context*/,
                                                   const Candidate& /*candidate*/) const {
    return Error{ErrorKind::not_found, "this evaluator merges no models"};
  }
};

/// What constructing an evaluator may use.
struct EvaluatorEnvironment {
  /// Directory that relative paths in the configuration refer to.
  std::string base_directory;
  /// Threads for in-process work; at least 1.
  std::size_t threads = 1;
};

/// A kind of evaluator that the configuration can name ("type": "process").
struct EvaluatorType {
  std::string name;
  std::string summary;
  std::vector<FieldInfo> fields;  ///< of its configuration block
  /// Problems in the error point below "" (the configuration block).
  std::function<Result<std::unique_ptr<Evaluator>>(const ParamValues&, const EvaluatorEnvironment&)>
      create;
};

}  // namespace paretod
