#include "evaluators/llm/caller.hpp"

#include <algorithm>
#include <utility>

#include "adapters/llm/refusal.hpp"

namespace paretod::llm {
namespace {

/// A pause longer than this is a matter for people.
constexpr double longest_wait_s = 3'600;

std::int64_t today() {
  using namespace std::chrono;
  return duration_cast<hours>(system_clock::now().time_since_epoch()).count() / 24;
}

double retry_delay(std::uint32_t retries, double jitter) {
  return std::min(8.0, 0.25 * static_cast<double>(1U << std::min(retries, 10U))) *
         (1 - 0.25 * jitter);
}

std::shared_ptr<const HttpClient::Headers> for_json(HttpClient::Headers headers) {
  headers.emplace_back("Content-Type", "application/json");
  return std::make_shared<const HttpClient::Headers>(std::move(headers));
}

}  // namespace

struct Caller::Pending {
  Call call;
  std::vector<Waiter> waiters;
  CallResult result;
  CallCost worst;
  std::uint32_t retries = 0;   ///< of all kinds
  std::uint32_t failures = 0;  ///< those that are limited
  bool queued = false;
  bool unanswered = false;  ///< the ledger was asked, and does not decide it
  bool intended = false;    ///< an intent of this process is open in the ledger
  bool held = false;        ///< its worst case is set aside
};

Caller::Caller(CallerOptions options, HttpMulti& http, ResponseLedger& ledger)
    : options_(std::move(options)),
      headers_(for_json(options_.headers)),
      http_(http),
      ledger_(ledger),
      accounts_(options_.caps),
      governor_(options_.limits),
      rng_(
          static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count())) {
  ledger_.for_each_spend([this](const std::string& job, std::int64_t day, std::int64_t micros) {
    accounts_.add_spent(job, day, micros);
  });
}

Caller::~Caller() = default;

double Caller::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

CallCost Caller::worst_of(const Call& call) const {
  if (!call.inference) return {};
  return {options_.prices.cost({call.prompt_bound, call.output_bound, 0}),
          call.prompt_bound + call.output_bound};
}

std::uint64_t Caller::call(Call call, Done done) {
  const std::uint64_t id = ++last_id_;
  const bool shares = call.inference && !call.ask_again;
  if (shares) {
    if (const auto same = by_key_.find(call.key); same != by_key_.end()) {
      same->second->waiters.push_back({id, std::move(done)});
      by_id_.emplace(id, same->second);
      return id;
    }
  }
  Pending& pending = spare_pending();
  pending.worst = worst_of(call);
  pending.call = std::move(call);
  pending.waiters.push_back({id, std::move(done)});
  by_id_.emplace(id, &pending);
  if (shares) by_key_.emplace(pending.call.key, &pending);
  pending.queued = true;
  queue_.push_back(&pending);
  // Once for all that are made in one go, and never from within call().
  if (queue_.size() == 1) http_.after(0, [this] { pump(); });
  return id;
}

CallCost Caller::cancel(std::uint64_t id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return {};
  Pending& pending = *found->second;
  by_id_.erase(found);
  std::erase_if(pending.waiters, [id](const Waiter& waiter) { return waiter.id == id; });
  if (!pending.waiters.empty()) return {};
  if (!pending.queued) return pending.worst;
  // pump() drops it; an intent that is open stays so until then.
  return {};
}

void Caller::drain(std::function<void()> idle) {
  idle_ = std::move(idle);
  if (under_way_ == 0) idle_();
}

void Caller::pump() {
  while (!idle_ && !queue_.empty()) {
    Pending& pending = *queue_.front();
    if (pending.waiters.empty()) {
      queue_.pop_front();
      pending.queued = false;
      if (pending.intended) ledger_.refused(pending.call.key, pending.call.job);
      release(pending, 0);
      retire(pending);
      continue;
    }
    if (prepare(pending)) continue;
    const double time = now();
    const double wait = governor_.wait(time, pending.call.inference);
    if (wait > 0) {
      // When another one ends, pump() is called anyway.
      if (wait < std::numeric_limits<double>::infinity() && time + wait < timer_at_) {
        timer_at_ = time + wait;
        http_.after(wait, [this] {
          timer_at_ = std::numeric_limits<double>::infinity();
          pump();
        });
      }
      return;
    }
    if (const auto refusal = accounts_.reserve(pending.call.job, today(), pending.worst.micros)) {
      // Those under way will cost less than was set aside for them.
      if (accounts_.held() > 0) return;
      queue_.pop_front();
      pending.queued = false;
      fail(pending, *refusal);
      continue;
    }
    pending.held = true;
    queue_.pop_front();
    pending.queued = false;
    governor_.sent(time, static_cast<double>(pending.worst.tokens), pending.call.inference);
    ++under_way_;
    if (!pending.call.inference || !options_.prices.paid() || pending.intended) {
      send(pending);
      continue;
    }
    ledger_.intend(pending.call.key, pending.call.job, pending.worst,
                   [this, at = &pending](bool written) {
                     if (written) {
                       at->intended = true;
                       return send(*at);
                     }
                     --under_way_;
                     governor_.ended();
                     fail(*at, "the ledger cannot be written, so nothing may be paid for");
                     pump();
                   });
  }
}

/// Whether the ledger already decides it.
bool Caller::prepare(Pending& pending) {
  const Call& call = pending.call;
  if (!call.inference || call.ask_again || pending.retries > 0 || pending.intended) return false;
  if (pending.unanswered) return false;
  const ResponseLedger::Known known = ledger_.find(call.key);
  pending.unanswered = known == ResponseLedger::Known::nothing;
  if (known == ResponseLedger::Known::unknown &&
      (options_.resend_unknown || !options_.prices.paid())) {
    ledger_.resend(call.key, call.job);
    pending.unanswered = true;
  }
  if (pending.unanswered) return false;
  queue_.pop_front();
  pending.queued = false;
  CallResult result;
  result.from_ledger = true;
  if (known == ResponseLedger::Known::unknown) {
    result.kind = CallResult::Kind::unknown;
    result.reason = "this call was paid for before, and nobody learnt its outcome";
  } else {
    auto reply = ledger_.reply(call.key);
    auto completion =
        reply ? completion_from_json(FlatJson(*reply).root()) : Result<Completion>(reply.error());
    if (completion) {
      ++counters_.ledger_hits;
      result.kind = CallResult::Kind::answered;
      result.completion = std::move(*completion);
    } else {
      result.reason = completion.error().message;
    }
  }
  finish(pending, std::move(result));
  return true;
}

void Caller::send(Pending& pending) {
  Call& call = pending.call;
  HttpTask task;
  task.method = "POST";
  task.url.reserve(options_.url.size() + call.path.size());
  task.url += options_.url;
  task.url += call.path;
  task.common_headers = headers_;
  task.body = std::move(call.body);
  task.timeout_s = options_.timeout_s;
  if (call.inference) ++counters_.sent;
  http_.start(std::move(task), [this, at = &pending](HttpOutcome outcome) {
    governor_.ended();
    --under_way_;
    at->call.body = std::move(outcome.request_body);
    take(*at, outcome);
    pump();
    if (governor_.in_flight() == 0) ledger_.flush();
    if (idle_ && under_way_ == 0) std::exchange(idle_, [] {})();
  });
}

void Caller::take(Pending& pending, const HttpOutcome& outcome) {
  switch (outcome.kind) {
    case HttpOutcome::Kind::reply:
      if (outcome.reply.status >= 200 && outcome.reply.status < 300) {
        take_reply(pending, outcome.reply);
      } else {
        take_refusal(pending, outcome.reply);
      }
      return;
    case HttpOutcome::Kind::not_sent:
      return again(pending, retry_delay(pending.failures, rng_.uniform()),
                   "the server cannot be reached: " + outcome.reason, true);
    case HttpOutcome::Kind::broken:
    case HttpOutcome::Kind::refused:
      if (pending.call.inference && options_.prices.paid()) {
        return lose(pending, "no reply came: " + outcome.reason);
      }
      if (outcome.kind == HttpOutcome::Kind::refused) return fail(pending, outcome.reason);
      return again(pending, retry_delay(pending.failures, rng_.uniform()),
                   "no reply came: " + outcome.reason, true);
  }
}

void Caller::take_reply(Pending& pending, const HttpReply& reply) {
  const Call& call = pending.call;
  if (!call.inference) {
    CallResult result{CallResult::Kind::answered};
    result.body = reply.body;
    return finish(pending, std::move(result));
  }
  const auto parsed = document_.read(reply.body, reply_limits);
  auto completion =
      parsed
          ? call.read(document_.root())
          : Result<Completion>(invalid("the server's reply is no JSON: " + parsed.error().message));
  if (!completion) {
    const std::string why = redacted(completion.error().message);
    if (options_.prices.paid()) return lose(pending, why);
    return fail(pending, why);
  }
  const CallCost cost{options_.prices.cost(completion->usage),
                      completion->usage.prompt_tokens + completion->usage.output_tokens};
  governor_.answered(static_cast<double>(pending.worst.tokens), static_cast<double>(cost.tokens));
  ++counters_.answered;
  release(pending, cost.micros);
  ++under_way_;
  kept_.clear();
  append_json_text(kept_, *completion);
  pending.result.kind = CallResult::Kind::answered;
  pending.result.cost = cost;
  pending.result.completion = std::move(*completion);
  ledger_.answer(call.key, call.job, cost, kept_, [this, at = &pending](bool written) {
    --under_way_;
    CallResult& result = at->result;
    if (!written && options_.prices.paid()) {
      result.kind = CallResult::Kind::failed;
      result.reason = "the reply came, but the ledger cannot be written";
    }
    finish(*at, std::move(result));
    if (idle_ && under_way_ == 0) std::exchange(idle_, [] {})();
  });
}

void Caller::take_refusal(Pending& pending, const HttpReply& reply) {
  const Refusal refusal = refusal_of(reply);
  const std::string message = redacted(refusal.message);
  switch (refusal.kind) {
    case RefusalKind::throttled:
    case RefusalKind::overloaded: {
      if (refusal.retry_after_s.value_or(0) > longest_wait_s) {
        return fail(pending, "the provider asks to wait for more than an hour (" + message + ")");
      }
      ++counters_.throttled;
      governor_.throttled(now(), refusal.retry_after_s, rng_.uniform());
      // The governor makes it wait, not a timer of its own.
      return again(pending, 0, message, false);
    }
    case RefusalKind::broken:
      return again(pending,
                   refusal.retry_after_s.value_or(retry_delay(pending.failures, rng_.uniform())),
                   message, true);
    case RefusalKind::quota:
      return fail(pending, "the provider's credit is used up (" + message + ")");
    case RefusalKind::refused:
      return fail(pending, message);
  }
}

void Caller::again(Pending& pending, double after_s, const std::string& why, bool counts) {
  release(pending, 0);
  if (counts && pending.failures >= options_.retries) {
    return fail(pending, why + " (after " + std::to_string(pending.failures) + " retries)");
  }
  if (counts) ++pending.failures;
  ++pending.retries;
  ++counters_.retried;
  const auto back = [this, at = &pending] {
    // In front: it has waited longest.
    at->queued = true;
    queue_.push_front(at);
    pump();
  };
  if (after_s > 0) {
    http_.after(after_s, back);
  } else {
    back();
  }
}

void Caller::lose(Pending& pending, const std::string& why) {
  ++counters_.unknown;
  release(pending, pending.worst.micros);
  pending.intended = false;
  pending.result.kind = CallResult::Kind::unknown;
  pending.result.cost = pending.worst;
  pending.result.reason = why;
  ++under_way_;
  ledger_.unknown(pending.call.key, pending.call.job, pending.worst, why,
                  [this, at = &pending](bool) {
                    --under_way_;
                    finish(*at, std::move(at->result));
                    if (idle_ && under_way_ == 0) std::exchange(idle_, [] {})();
                  });
}

void Caller::fail(Pending& pending, const std::string& why) {
  if (std::exchange(pending.intended, false)) ledger_.refused(pending.call.key, pending.call.job);
  release(pending, 0);
  CallResult result;
  result.reason = why;
  finish(pending, std::move(result));
}

void Caller::release(Pending& pending, std::int64_t spent) {
  if (!std::exchange(pending.held, false)) return;
  accounts_.settle(pending.call.job, today(), pending.worst.micros, spent);
}

void Caller::finish(Pending& pending, CallResult result) {
  result.retries = pending.retries;
  std::vector<Waiter> waiters;
  waiters.swap(waiters_);  // calls are made from within those that are told
  waiters.swap(pending.waiters);
  retire(pending);
  for (std::size_t i = 0; i < waiters.size(); ++i) {
    by_id_.erase(waiters[i].id);
    CallResult given = i + 1 < waiters.size() ? result : std::move(result);
    if (i > 0) {
      given.cost = {};
      given.from_ledger = true;
    }
    waiters[i].done(std::move(given));
  }
  waiters.clear();
  waiters_.swap(waiters);
}

Caller::Pending& Caller::spare_pending() {
  if (spare_.empty()) return *pendings_.emplace_back(std::make_unique<Pending>());
  Pending& pending = *spare_.back();
  spare_.pop_back();
  return pending;
}

/// Nothing refers to it any more.
void Caller::retire(Pending& pending) {
  if (pending.call.inference && !pending.call.ask_again) by_key_.erase(pending.call.key);
  std::vector<Waiter> waiters = std::move(pending.waiters);
  waiters.clear();
  pending = {};
  pending.waiters = std::move(waiters);  // for their memory
  spare_.push_back(&pending);
}

std::string Caller::redacted(std::string text) const {
  return llm::redacted(std::move(text), options_.secrets);
}

std::string redacted(std::string text, const std::vector<std::string>& secrets) {
  for (const std::string& secret : secrets) {
    for (std::size_t at = text.find(secret); at != std::string::npos; at = text.find(secret)) {
      text.replace(at, secret.size(), "[key]");
    }
  }
  return text;
}

}  // namespace paretod::llm
