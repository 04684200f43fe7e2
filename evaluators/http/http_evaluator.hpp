#pragma once
// An evaluator behind a URL.  GET of it answers the hello; POST of an "evaluate" message answers
// with a "result" or "error" message (200), or says where to ask for it (202 with Location, and
// Retry-After; GET there answers 202 or "progress" until it is done, DELETE asks to stop).  The
// messages are those of the evaluator protocol (process/protocol.hpp); Idempotency-Key is the id.
//
// What failed is sorted by what is known: nothing reached the server, 429, 503 -> transient, and
// with Retry-After nothing more is sent until then; 3xx and other 4xx, an answer that is no message
// -> fault; timed out, cut off, other 5xx -> transient, but unknown where an attempt costs money,
// because it may have been worked on and billed.  Rules for addresses:
// adapters/http/http_multi.hpp.

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "adapters/http/http_multi.hpp"
#include "evaluators/evaluator.hpp"
#include "evaluators/process/protocol.hpp"
#include "optimizers/core/params.hpp"

namespace paretod {

struct HttpEvaluatorConfig {
  std::string url;
  std::int64_t slots = 0;
  double timeout_s = 600;
  std::string token_file;
  bool allow_private = false;
};

template <>
Fields<HttpEvaluatorConfig> describe();

class HttpEvaluator final : public Evaluator {
 public:
  /// Returns once the hello has been answered, or not.
  static Result<std::unique_ptr<HttpEvaluator>> start(const HttpEvaluatorConfig& config,
                                                      const EvaluatorEnvironment& environment);
  ~HttpEvaluator() override;

  [[nodiscard]] EvaluatorDescription describe() const override { return description_; }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override;
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) override;
  void cancel(std::uint64_t ticket) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Running {
    EvaluationRequest request;
    std::shared_ptr<const Reply> reply;
    Clock::time_point started;
    double allowed_s = 0;
    std::uint64_t transfer = 0;  ///< of the multi client; 0 while none runs
    std::string poll_url = {};   ///< once the server has said 202
    bool cancelled = false;
  };

  HttpEvaluator(const HttpEvaluatorConfig& config, std::string token,
                EvaluatorDescription description, std::unique_ptr<HttpMulti> client);

  // All of these need mutex_, and give back what is to be said without it.
  using Answer = std::optional<EvaluationReply>;
  void send(Running& running);
  void poll_later(Running& running, double seconds);
  Answer on_outcome(Running& running, const HttpOutcome& outcome);
  Answer on_failure(Running& running, const HttpOutcome& outcome);
  Answer on_message(Running& running, const HttpReply& reply);
  Answer on_accepted(Running& running, const HttpReply& reply);
  Answer on_refusal(Running& running, const HttpReply& reply);

  /// On the client's thread: runs `step` if the request still runs, and passes its answer on.
  template <class Step>
  void proceed(std::uint64_t ticket, Step step);
  [[nodiscard]] HttpTask task(const std::string& method, const std::string& url) const;
  [[nodiscard]] double left_s(const Running& running) const;
  [[nodiscard]] EvaluationReply failed(const Running& running, ReplyKind kind,
                                       const std::string& reason) const;
  /// Whether it was worked on is not known.
  [[nodiscard]] EvaluationReply unclear(const Running& running, const std::string& reason) const;

  const HttpEvaluatorConfig config_;
  const std::string token_;
  const EvaluatorDescription description_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, Running> running_;  // by ticket
  Clock::time_point not_before_{};                      // a server's Retry-After
  std::unique_ptr<HttpMulti> client_;                   // last: its thread ends first
};

EvaluatorType http_evaluator_type();

}  // namespace paretod
