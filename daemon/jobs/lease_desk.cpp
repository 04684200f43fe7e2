#include "daemon/jobs/lease_desk.hpp"

#include <algorithm>
#include <charconv>
#include <set>

namespace paretod {
namespace {

/// Workers whose last answer is remembered.
constexpr std::size_t most_workers = 10'000;

template <class T>
bool read_number(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number > 0;
}

std::string nonce_of(Job& job) {
  return job.with_state([](JobState& state) { return state.nonce(); });
}

}  // namespace

std::string_view name_of(ResultStatus status) {
  constexpr std::string_view names[] = {"accepted", "duplicate", "unknown"};
  return names[static_cast<std::size_t>(status)];
}

LeaseDesk::LeaseDesk(Dispatcher& dispatcher, FindJob find_job)
    : dispatcher_(dispatcher), find_job_(std::move(find_job)) {}

std::optional<LeaseDesk::Name> LeaseDesk::parse(const std::string& lease) const {
  std::vector<std::string_view> parts;
  std::string_view rest = lease;
  for (std::size_t colon = rest.find(':'); colon != rest.npos; colon = rest.find(':')) {
    parts.push_back(rest.substr(0, colon));
    rest.remove_prefix(colon + 1);
  }
  if (parts.size() != 3) return std::nullopt;
  Name name;
  name.job = find_job_(std::string(parts[0]));
  if (!name.job || !read_number(parts[1], name.trial) || !read_number(parts[2], name.attempt) ||
      rest != nonce_of(*name.job)) {
    return std::nullopt;
  }
  name.attempt_id = lease.substr(0, lease.size() - rest.size() - 1);
  return name;
}

std::shared_ptr<Job> LeaseDesk::job_of(const std::string& lease) const {
  const auto name = parse(lease);
  return name ? name->job : nullptr;
}

void LeaseDesk::lease(LeaseWanted wanted, const std::string& request,
                      std::function<void(Leases)> then) {
  const std::string worker = wanted.worker;
  std::uint64_t abandoned = 0;
  std::shared_ptr<Asked> asked;
  {
    std::unique_lock lock(mutex_);
    std::shared_ptr<Asked>& last = asked_[worker];
    if (last && !request.empty() && last->request == request) {
      if (!last->answer) {
        last->waiting.push_back(std::move(then));
        return;
      }
      const Leases answer = last->answer;
      lock.unlock();
      return then(answer);
    }
    if (last && !last->answer) abandoned = last->wait;
    if (!last) workers_.push_back(worker);
    last = asked = std::make_shared<Asked>();
    asked->request = request;
    asked->waiting.push_back(std::move(then));
    if (workers_.size() > most_workers) {
      // Its waiters, if there are any, hold what they need.
      asked_.erase(workers_.front());
      workers_.pop_front();
    }
  }
  if (abandoned != 0) dispatcher_.give_up(abandoned);
  const std::uint64_t wait = dispatcher_.lease(
      std::move(wanted), [this, asked](std::vector<EvaluationRequest> requests) {
        auto leases = std::make_shared<std::vector<Lease>>();
        for (EvaluationRequest& one : requests) {
          const auto job = find_job_(one.context->job);
          // Its log has just taken the start of the attempt.
          if (!job) continue;
          leases->push_back({one.id() + ":" + nonce_of(*job), std::move(one)});
        }
        std::vector<std::function<void(Leases)>> waiting;
        {
          const std::lock_guard lock(mutex_);
          asked->answer = leases;
          waiting.swap(asked->waiting);
        }
        for (const auto& waits : waiting) waits(leases);
      });
  const std::lock_guard lock(mutex_);
  asked->wait = wait;
}

Dispatcher::Beat LeaseDesk::beat(const std::string& lease) {
  const auto name = parse(lease);
  if (!name) return Dispatcher::Beat::gone;
  const Dispatcher::Beat beat = dispatcher_.beat(name->attempt_id);
  if (beat != Dispatcher::Beat::gone) return beat;
  return name->job->has_open(name->trial, name->attempt) ? Dispatcher::Beat::held
                                                         : Dispatcher::Beat::gone;
}

void LeaseDesk::progress(const std::string& lease, EvaluationReply reply) {
  if (const auto name = parse(lease)) dispatcher_.answer(name->attempt_id, std::move(reply));
}

bool LeaseDesk::release(const std::string& lease) {
  const auto name = parse(lease);
  return name && dispatcher_.release(name->attempt_id);
}

ResultStatus LeaseDesk::finish_one(const Name& name, EvaluationReply reply) {
  const bool told = name.job->is_told(name.trial);
  // The dispatcher takes it, whatever kind it is, if it still waits for it.
  EvaluationReply copy = reply;
  if (dispatcher_.answer(name.attempt_id, std::move(copy))) {
    return told ? ResultStatus::duplicate : ResultStatus::accepted;
  }
  // A failed attempt that nobody waits for has been counted as lost: nothing is to be learnt.
  if (reply.kind != ReplyKind::done) {
    return told ? ResultStatus::duplicate : ResultStatus::unknown;
  }
  if (reply.outcome.cost.seconds < 0) reply.outcome.cost.seconds = 0;
  switch (name.job->complete_late(name.trial, name.attempt, std::move(reply.outcome))) {
    case Job::Late::accepted:
      return ResultStatus::accepted;
    case Job::Late::duplicate:
      return ResultStatus::duplicate;
    case Job::Late::unknown:
      break;
  }
  return ResultStatus::unknown;
}

void LeaseDesk::finish(std::vector<std::pair<std::string, EvaluationReply>> replies,
                       std::function<void(std::optional<std::vector<ResultStatus>>)> then) {
  struct Gathered {
    std::mutex mutex;
    std::size_t missing = 0;
    bool durable = true;
    std::vector<ResultStatus> statuses;
    std::function<void(std::optional<std::vector<ResultStatus>>)> then;
  };
  const auto gathered = std::make_shared<Gathered>();
  gathered->then = std::move(then);
  std::set<std::shared_ptr<Job>> touched;
  for (auto& [lease, reply] : replies) {
    const auto name = parse(lease);
    gathered->statuses.push_back(name ? finish_one(*name, std::move(reply))
                                      : ResultStatus::unknown);
    // A duplicate may be of something that is still on its way into the log.
    if (name) touched.insert(name->job);
  }
  if (touched.empty()) return gathered->then(std::move(gathered->statuses));
  gathered->missing = touched.size();
  for (const auto& job : touched) {
    job->when_durable([gathered](bool durable) {
      std::unique_lock lock(gathered->mutex);
      gathered->durable = gathered->durable && durable;
      if (--gathered->missing > 0) return;
      lock.unlock();
      if (gathered->durable) {
        gathered->then(std::move(gathered->statuses));
      } else {
        gathered->then(std::nullopt);
      }
    });
  }
}

}  // namespace paretod
