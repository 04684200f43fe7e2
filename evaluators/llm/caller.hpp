#pragma once
// Sends calls to one provider, so that none is lost, none is paid twice and none comes too fast:
// each goes through the ledger (answered before? then that is the answer), the accounts (is there
// room under the caps?), the governor (may another one go now?) and only then to the network.
//
//   refused for now (429, 503, 529)     waits and goes again, as long as it takes; all others too
//   connection refused, 408, 5xx        goes again, `retries` times
//   other 4xx                           failed
//   broken off, timed out               not paid: goes again, `retries` times;
//                                       paid: unknown, billed at its worst, not sent again
//   200 without a usable reply          paid: unknown, because what it cost is not known; else
//   failed
//
// Equal calls at the same time are one call.  Everything here happens on the HTTP client's thread:
// call and cancel only from there.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapters/http/http_multi.hpp"
#include "adapters/llm/dialect.hpp"
#include "evaluators/llm/governor.hpp"
#include "evaluators/llm/prices.hpp"
#include "evaluators/llm/response_ledger.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod::llm {

/// Of replies: several hundred alternatives per token make long ones.
inline constexpr JsonLimits reply_limits{
    .depth = 32, .nodes = 4'000'000, .string_bytes = 4U << 20U};

struct Call {
  /// Content hash of whatever the answer depends on.
  std::string key;
  std::string job;
  std::string path;
  std::string body;  ///< JSON
  /// Runs the model; others (tokenize, load) are free, unlimited and not kept.
  bool inference = true;
  /// Asks the server even if the answer is known: to see whether it still gives it.
  bool ask_again = false;
  /// What a reply's body is to be read as; the result is what the ledger keeps.
  std::function<Result<Completion>(const JsonNode&)> read = {};
  std::uint64_t prompt_bound = 0;  ///< tokens, at most
  std::uint64_t output_bound = 0;
};

struct CallResult {
  enum class Kind { answered, failed, unknown };
  Kind kind = Kind::failed;
  Completion completion = {};
  std::string body = {};  ///< of calls that are no inference; some servers say only "Success: .."
  CallCost cost = {};     ///< of this call, now; 0 for what the ledger knew
  bool from_ledger = false;
  std::uint32_t retries = 0;
  std::string reason = {};
};

struct CallerOptions {
  std::string url;  ///< of the server, without a trailing '/'
  HttpClient::Headers headers;
  std::vector<std::string> secrets;  ///< taken out of whatever the server says
  double timeout_s = 120;
  std::uint32_t retries = 4;
  bool resend_unknown = false;
  Prices prices;
  SpendCaps caps;
  GovernorLimits limits;
};

/// A text of the server, or about it, without the secrets, none of which is empty.
std::string redacted(std::string text, const std::vector<std::string>& secrets);

class Caller {
 public:
  using Done = std::function<void(CallResult)>;

  Caller(CallerOptions options, HttpMulti& http, ResponseLedger& ledger);
  ~Caller();
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  /// `done` is called once, later, unless the call is cancelled before.
  std::uint64_t call(Call call, Done done);
  /// Nobody waits for it any more.  What is not under way is dropped, what is goes on into the
  /// ledger.  Returns what it may still cost.
  CallCost cancel(std::uint64_t id);

  /// Nothing new is sent; `idle` is called when nothing is under way any more.
  void drain(std::function<void()> idle);

  struct Counters {
    std::uint64_t sent = 0;  ///< inference requests that left for the network
    std::uint64_t answered = 0;
    std::uint64_t ledger_hits = 0;
    std::uint64_t throttled = 0;
    std::uint64_t retried = 0;
    std::uint64_t unknown = 0;
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] const Prices& prices() const { return options_.prices; }
  [[nodiscard]] const Accounts& accounts() const { return accounts_; }
  /// A text of the server without the secrets.
  [[nodiscard]] std::string redacted(std::string text) const;
  /// What a call may cost at most.
  [[nodiscard]] CallCost worst_of(const Call& call) const;

 private:
  struct Waiter {
    std::uint64_t id;
    Done done;
  };
  /// A call from call() until its waiters are told, or it is dropped.
  struct Pending;

  [[nodiscard]] double now() const;
  void pump();
  bool prepare(Pending& pending);
  void send(Pending& pending);
  void take(Pending& pending, const HttpOutcome& outcome);
  void take_reply(Pending& pending, const HttpReply& reply);
  void take_refusal(Pending& pending, const HttpReply& reply);
  void again(Pending& pending, double after_s, const std::string& why, bool counts);
  void lose(Pending& pending, const std::string& why);
  void fail(Pending& pending, const std::string& why);
  void finish(Pending& pending, CallResult result);
  void release(Pending& pending, std::int64_t spent);
  Pending& spare_pending();
  void retire(Pending& pending);

  const CallerOptions options_;
  const std::shared_ptr<const HttpClient::Headers> headers_;  ///< of every request
  HttpMulti& http_;
  ResponseLedger& ledger_;
  Accounts accounts_;
  Governor governor_;
  Rng rng_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::uint64_t last_id_ = 0;
  std::vector<std::unique_ptr<Pending>> pendings_;
  std::vector<Pending*> spare_;  ///< stand for no call
  std::deque<Pending*> queue_;
  std::unordered_map<std::string_view, Pending*, ContentHash> by_key_;  ///< waiting or under way
  std::unordered_map<std::uint64_t, Pending*> by_id_;
  double timer_at_ = std::numeric_limits<double>::infinity();
  std::size_t under_way_ = 0;  ///< from the intent to the durable outcome
  std::function<void()> idle_;
  FlatJson document_;            ///< the reply that is being read
  std::string kept_;             ///< what the ledger is to keep of it
  std::vector<Waiter> waiters_;  ///< memory for those that are told
  Counters counters_;
};

}  // namespace paretod::llm
