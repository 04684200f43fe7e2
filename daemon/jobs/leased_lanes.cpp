// The dispatcher's lanes that workers take from.

#include <algorithm>

#include "daemon/jobs/dispatcher_state.hpp"

namespace paretod {
namespace {

constexpr int paid_patience = 10;  ///< TTLs

}  // namespace

// ---- taking ------------------------------------------------------------------------------------

/// One item per client and turn.  The turns of the lane do not serve here: a taker may want one
/// job's work only, or must not have some of it.
Dispatcher::State::Requests Dispatcher::State::take_leased(Lane& lane, const Taker& taker) {
  std::vector<ClientId> suitable;
  for (const auto& [id, client] : clients) {
    if (client.lane == &lane && (taker.job.empty() || client.client.context->job == taker.job)) {
      suitable.push_back(id);
    }
  }
  Requests taken;
  while (taken.size() < taker.count && !suitable.empty()) {
    lane.rotation = lane.rotation % suitable.size();
    const ClientId id = suitable[lane.rotation];
    if (take_one(id, clients.at(id), taker, taken)) {
      ++lane.rotation;
    } else {
      suitable.erase(suitable.begin() + static_cast<std::ptrdiff_t>(lane.rotation));
    }
  }
  return taken;
}

void Dispatcher::State::serve_waiters(Lane& lane) {
  std::vector<std::pair<Leased, Requests>> served;
  {
    const std::lock_guard lock(mutex);
    for (auto waiter = lane.waiters.begin(); waiter != lane.waiters.end() && !stopping;) {
      Requests taken = take_leased(lane, {.count = waiter->wanted.count,
                                          .worker = waiter->wanted.worker,
                                          .job = waiter->wanted.job,
                                          .ttl = waiter->wanted.ttl});
      if (taken.empty()) {
        ++waiter;
        continue;
      }
      served.emplace_back(std::move(waiter->leased), std::move(taken));
      waiter = lane.waiters.erase(waiter);
    }
  }
  for (auto& [leased_to, requests] : served) {
    begin(lane, std::move(requests), std::move(leased_to));
  }
}

std::uint64_t Dispatcher::lease(LeaseWanted wanted, Leased leased) {
  State& state = *state_;
  const auto found = state.lanes.find(wanted.evaluator);
  State::Lane* lane = found == state.lanes.end() ? nullptr : found->second.get();
  const auto patience = wanted.patience;
  if (wanted.ttl.count() <= 0) wanted.ttl = state.options.lease_ttl;
  std::uint64_t id = 0;
  bool refused = false;
  {
    const std::lock_guard lock(state.mutex);
    id = state.next_id++;
    refused = state.stopping || lane == nullptr || !lane->leased() || wanted.count == 0;
    if (!refused) {
      lane->waiters.push_back({id, std::move(wanted), leased});
      if (patience.count() > 0) {
        state.at(State::Clock::now() + patience, [this, id] { give_up(id); });
      }
    }
  }
  if (refused) {
    leased({});
    return id;
  }
  state.pump(*lane);
  if (patience.count() <= 0) give_up(id);
  return id;
}

void Dispatcher::give_up(std::uint64_t lease) {
  Leased leased;
  {
    const std::lock_guard lock(state_->mutex);
    for (const auto& [name, lane] : state_->lanes) {
      const auto found =
          std::find_if(lane->waiters.begin(), lane->waiters.end(),
                       [lease](const State::Waiter& waiter) { return waiter.id == lease; });
      if (found == lane->waiters.end()) continue;
      leased = std::move(found->leased);
      lane->waiters.erase(found);
      break;
    }
  }
  if (leased) leased({});
}

// ---- leases ------------------------------------------------------------------------------------

std::vector<Dispatcher::State::Over> Dispatcher::State::adopt(ClientId id, ClientState& client,
                                                              Item item) {
  Running attempt;
  attempt.client = id;
  attempt.lane = client.lane;
  attempt.context = client.client.context;
  attempt.since = Clock::now();
  // Its worker gets a whole TTL to be heard again.
  attempt.ttl = options.lease_ttl;
  attempt.expiry = attempt.since + attempt.ttl;
  const std::string name = client.client.context->job + ":" + std::to_string(item.number) + ":" +
                           std::to_string(item.record.started);
  attempt.item = std::move(item);
  const std::uint64_t ticket = next_ticket++;
  ++client.running;
  ++client.lane->busy;
  if (!client.lane->leased()) ++working;
  const bool goes_on = client.lane->leased();
  running.emplace(ticket, std::move(attempt));
  if (goes_on) {
    leased.emplace(name, ticket);
    watch_lease(ticket);
    return {};
  }
  EvaluationReply reply;
  reply.ticket = ticket;
  reply.kind = ReplyKind::transient;
  reply.cost_known = false;
  reply.outcome = Outcome::failure(TrialStatus::failed,
                                   "the daemon stopped while it ran; how it ended is not known");
  std::vector<Over> over;
  over.push_back({ticket, std::move(reply), AttemptEnd::lost});
  return over;
}

void Dispatcher::State::watch_lease(std::uint64_t ticket) {
  at(running.at(ticket).expiry, [this, ticket] { check_lease(ticket); });
}

void Dispatcher::State::check_lease(std::uint64_t ticket) {
  std::vector<Over> over;
  Lane* lane = nullptr;
  {
    const std::lock_guard lock(mutex);
    const auto found = running.find(ticket);
    if (found == running.end() || stopping) return;
    Running& attempt = found->second;
    lane = attempt.lane;
    auto end = attempt.expiry;
    if (lane->description().paid) end += (paid_patience - 1) * attempt.ttl;
    // Looked at far too late: it was the daemon that stood still, and nobody was heard meanwhile.
    const auto now = Clock::now();
    if (now > end + attempt.ttl / 3) end = attempt.expiry = now + attempt.ttl;
    if (now < end) {
      at(end, [this, ticket] { check_lease(ticket); });
      return;
    }
    EvaluationReply reply;
    reply.ticket = ticket;
    reply.kind = ReplyKind::transient;
    reply.cost_known = false;
    reply.worker = attempt.item.record.worker;
    reply.outcome = Outcome::failure(TrialStatus::failed,
                                     "worker \"" + attempt.item.record.worker + "\" went silent");
    over.push_back({ticket, std::move(reply), AttemptEnd::lost});
  }
  on_over(*lane, std::move(over));
}

Dispatcher::Beat Dispatcher::beat(const std::string& attempt) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->leased.find(attempt);
  if (found == state_->leased.end()) return Beat::gone;
  State::Running& running = state_->running.at(found->second);
  running.expiry = State::Clock::now() + running.ttl;
  return running.cancelled ? Beat::cancelled : Beat::held;
}

bool Dispatcher::answer(const std::string& attempt, EvaluationReply reply) {
  State::Lane* lane = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->leased.find(attempt);
    if (found == state_->leased.end()) return false;
    const State::Running& running = state_->running.at(found->second);
    lane = running.lane;
    reply.ticket = found->second;
    if (reply.worker.empty()) reply.worker = running.item.record.worker;
    if (reply.kind != ReplyKind::progress && reply.outcome.cost.seconds < 0) {
      reply.outcome.cost.seconds =
          std::chrono::duration<double>(State::Clock::now() - running.since).count();
    }
  }
  std::vector<EvaluationReply> replies;
  replies.push_back(std::move(reply));
  state_->on_replies(*lane, std::move(replies));
  return true;
}

bool Dispatcher::release(const std::string& attempt) {
  State::Lane* lane = nullptr;
  std::vector<State::Over> over;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->leased.find(attempt);
    if (found == state_->leased.end()) return false;
    const State::Running& running = state_->running.at(found->second);
    lane = running.lane;
    EvaluationReply reply;
    reply.ticket = found->second;
    reply.kind = ReplyKind::transient;
    reply.worker = running.item.record.worker;
    reply.outcome = Outcome::failure(TrialStatus::failed, "given back before it began");
    over.push_back({found->second, std::move(reply), AttemptEnd::released});
  }
  state_->on_over(*lane, std::move(over));
  return true;
}

std::shared_ptr<const EvaluationContext> Dispatcher::context_of(const std::string& attempt) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->leased.find(attempt);
  return found == state_->leased.end() ? nullptr : state_->running.at(found->second).context;
}

std::chrono::milliseconds Dispatcher::lease_ttl() const {
  return state_->options.lease_ttl;
}

}  // namespace paretod
