#include "daemon/jobs/dispatcher.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "daemon/jobs/dispatcher_state.hpp"

namespace paretod {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t poison_faults = 2;
/// For so long a trial that broke a worker waits for another one.
constexpr auto avoidance = std::chrono::seconds(10);

/// Doubling from 0.2 s to 30 s, each scaled by a random factor in [0.5, 1).
Clock::duration backoff(std::uint32_t attempt, double random) {
  const double seconds = std::min(30.0, 0.2 * std::ldexp(1.0, static_cast<int>(attempt) - 1));
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(seconds * (0.5 + random / 2)));
}

}  // namespace

// ---- alarms ------------------------------------------------------------------------------------

void Dispatcher::State::at(Clock::time_point when, std::function<void()> what) {
  const bool earliest = alarms.empty() || when < alarms.begin()->first;
  alarms.emplace(when, std::move(what));
  if (earliest) changed.notify_all();
}

void Dispatcher::State::run_timer(const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    if (alarms.empty()) {
      changed.wait(lock, [&] { return stop.stop_requested() || !alarms.empty(); });
      continue;
    }
    const auto due = alarms.begin()->first;
    if (Clock::now() < due) {
      changed.wait_until(lock, due);
      continue;
    }
    const std::function<void()> what = std::move(alarms.begin()->second);
    alarms.erase(alarms.begin());
    lock.unlock();
    what();
    lock.lock();
  }
}

// ---- taking ------------------------------------------------------------------------------------

void Dispatcher::State::offer_turn(ClientId id, ClientState& client) {
  if (client.in_turns || client.queue.empty()) return;
  client.in_turns = true;
  client.lane->turns.push_back(id);
}

bool Dispatcher::State::take_one(ClientId id, ClientState& client, const Taker& taker,
                                 Requests& taken) {
  if (stopping || client.removed || client.running >= client.parallelism) return false;
  const auto now = Clock::now();
  const auto item_for_taker = [&](const Item& item) {
    return taker.worker.empty() || item.record.failed_worker != taker.worker ||
           item.avoid_until <= now;
  };
  const auto found = std::find_if(client.queue.begin(), client.queue.end(), item_for_taker);
  if (found == client.queue.end() || !client.client.ledger.reserve()) return false;
  Running attempt;
  attempt.client = id;
  attempt.lane = client.lane;
  attempt.item = std::move(*found);
  client.queue.erase(found);
  AttemptRecord& record = attempt.item.record;
  ++record.started;
  record.worker = taker.worker;
  record.hold = client.client.ledger.worst_case();
  attempt.context = client.client.context;
  attempt.since = now;
  attempt.ttl = taker.ttl;
  attempt.starting = client.lane->starts_durably();
  EvaluationRequest request;
  request.ticket = next_ticket++;
  request.context = client.client.context;
  request.trial = attempt.item.number;
  request.attempt = record.started;
  request.candidate = attempt.item.candidate;
  request.deadline_s = client.client.trial_timeout_s;
  request.avoid = record.failed_worker;
  ++client.running;
  ++client.lane->busy;
  if (!client.lane->leased()) ++working;
  running.emplace(request.ticket, std::move(attempt));
  taken.push_back(std::move(request));
  return true;
}

/// As much work as the lane has free slots for, one item per client and turn.
Dispatcher::State::Requests Dispatcher::State::take(Lane& lane, const Taker& taker) {
  Requests taken;
  while (!stopping && taken.size() < taker.count && !lane.turns.empty()) {
    const ClientId id = lane.turns.front();
    lane.turns.pop_front();
    ClientState& client = clients.at(id);
    client.in_turns = false;
    // A client at a limit comes back into the turns when one of its trials ends.
    if (!take_one(id, client, taker, taken)) continue;
    if (client.running < client.parallelism) offer_turn(id, client);
  }
  return taken;
}

void Dispatcher::State::report_shortages(Lane& lane) {
  std::vector<std::pair<std::shared_ptr<TrialSink>, Resource>> told;
  {
    const std::lock_guard lock(mutex);
    for (auto& [id, client] : clients) {
      if (client.lane != &lane || client.running > 0 || client.queue.empty() || client.removed ||
          client.out_of_budget) {
        continue;
      }
      const auto resource = client.client.ledger.short_of();
      if (!resource) continue;
      client.out_of_budget = true;
      if (auto sink = client.client.sink.lock()) told.emplace_back(std::move(sink), *resource);
    }
  }
  for (const auto& [sink, resource] : told) sink->out_of_budget(resource);
}

// ---- beginning ---------------------------------------------------------------------------------

void Dispatcher::State::begin(Lane& lane, Requests requests, std::function<void(Requests)> go) {
  if (requests.empty()) return;
  if (!lane.starts_durably()) return go(std::move(requests));
  struct Group {
    std::shared_ptr<TrialSink> sink;
    std::vector<TrialSink::Start> starts;
    Requests requests;
  };
  std::vector<Group> groups;
  {
    const std::lock_guard lock(mutex);
    std::map<ClientId, std::size_t> group_of;
    for (EvaluationRequest& request : requests) {
      const Running& attempt = running.at(request.ticket);
      const auto [place, added] = group_of.emplace(attempt.client, groups.size());
      if (added) groups.push_back({clients.at(attempt.client).client.sink.lock(), {}, {}});
      const AttemptRecord& record = attempt.item.record;
      Group& group = groups[place->second];
      group.starts.push_back({request.trial, request.attempt, record.worker, record.hold});
      group.requests.push_back(std::move(request));
    }
  }
  // `go` is called when the last job has answered.
  struct Gathered {
    std::mutex mutex;
    std::size_t missing = 0;
    Requests begun;
    std::function<void(Requests)> go;
  };
  const auto gathered = std::make_shared<Gathered>();
  gathered->missing = groups.size();
  gathered->go = std::move(go);
  for (Group& group : groups) {
    const auto shared = std::make_shared<Requests>(std::move(group.requests));
    const auto durable = [self = shared_from_this(), gathered, shared](bool yes) {
      Requests begun = self->begun(std::move(*shared), yes);
      std::unique_lock lock(gathered->mutex);
      for (EvaluationRequest& request : begun) gathered->begun.push_back(std::move(request));
      if (--gathered->missing > 0) return;
      lock.unlock();
      gathered->go(std::move(gathered->begun));
    };
    if (group.sink) {
      group.sink->start(std::move(group.starts), durable);
    } else {
      durable(false);
    }
  }
}

Dispatcher::State::Requests Dispatcher::State::begun(Requests requests, bool durable) {
  const std::lock_guard lock(mutex);
  Requests begun;
  for (EvaluationRequest& request : requests) {
    const auto found = running.find(request.ticket);
    if (found == running.end()) continue;
    Running& attempt = found->second;
    attempt.starting = false;
    if (durable && !attempt.cancelled) {
      if (attempt.lane->leased()) {
        attempt.expiry = Clock::now() + attempt.ttl;
        leased.emplace(request.id(), request.ticket);
        watch_lease(request.ticket);
      }
      begun.push_back(std::move(request));
      continue;
    }
    Lane& lane = *attempt.lane;
    const ClientId client = attempt.client;
    clients.at(client).client.ledger.settle(attempt.item.record.hold, {});
    running.erase(found);
    leave(lane, client);
  }
  return begun;
}

void Dispatcher::State::send(Lane& lane, Requests requests) {
  if (requests.empty()) return;
  lane.evaluator->evaluator->evaluate(
      std::move(requests),
      [self = shared_from_this(), &lane](std::vector<EvaluationReply> replies) {
        self->on_replies(lane, std::move(replies));
      });
}

void Dispatcher::State::pump(Lane& lane) {
  if (lane.leased()) {
    serve_waiters(lane);
  } else {
    Requests requests;
    {
      const std::lock_guard lock(mutex);
      const std::size_t slots = std::max<std::size_t>(lane.description().slots, 1);
      if (lane.busy < slots) requests = take(lane, {.count = slots - lane.busy});
    }
    begin(lane, std::move(requests),
          [this, &lane](Requests begun) { send(lane, std::move(begun)); });
  }
  report_shortages(lane);
}

// ---- ends --------------------------------------------------------------------------------------

void Dispatcher::State::leave(Lane& lane, ClientId id) {
  --lane.busy;
  if (!lane.leased()) --working;
  const auto found = clients.find(id);
  ClientState& client = found->second;
  --client.running;
  if (client.removed && client.running == 0) {
    clients.erase(found);
  } else {
    offer_turn(id, client);
  }
}

bool Dispatcher::State::ends_trial(Lane& lane, ClientState& client, Running& attempt, Over& over) {
  EvaluationReply& reply = over.reply;
  Outcome& outcome = reply.outcome;
  AttemptRecord& record = attempt.item.record;
  const bool paid = lane.description().paid;
  if (!reply.cost_known && paid) {
    const double measured_s = outcome.cost.seconds;
    outcome.cost = record.hold;
    outcome.cost.seconds = std::max(outcome.cost.seconds, measured_s);
  }
  client.client.ledger.settle(record.hold, outcome.cost);
  outcome.attempts = record.started;
  if (reply.kind == ReplyKind::done || attempt.cancelled) return true;
  if (paid && !reply.cost_known && !lane.description().resumable) {
    outcome.status = TrialStatus::unknown;
    return true;
  }
  // A failure while the daemon stops may be of its own making.
  if (stopping) over.end = AttemptEnd::released;
  record.count(over.end, reply.worker);
  if (over.end == AttemptEnd::released) return false;
  outcome.status = TrialStatus::failed;
  if (record.faults >= poison_faults) {
    outcome.reason = "poison: " + std::to_string(record.faults) +
                     " attempts broke the evaluator; the last one: " + outcome.reason;
    return true;
  }
  return record.failures >= client.client.max_attempts;
}

void Dispatcher::State::retry_later(ClientId id, Item item, AttemptEnd end) {
  const auto now = Clock::now();
  auto due = now;
  if (end != AttemptEnd::released) {
    due += backoff(item.record.failures, std::uniform_real_distribution<>(0, 1)(jitter));
    item.avoid_until = due + avoidance;
  }
  const std::uint64_t name = next_id++;
  Lane* lane = clients.at(id).lane;
  if (lane->leased() && end != AttemptEnd::released) {
    at(item.avoid_until, [this, lane] { pump(*lane); });
  }
  delayed.emplace(name, Delayed{id, std::move(item)});
  at(due, [this, name, lane] {
    {
      const std::lock_guard lock(mutex);
      const auto found = delayed.find(name);
      if (found == delayed.end()) return;
      Delayed retry = std::move(found->second);
      delayed.erase(found);
      const auto client = clients.find(retry.client);
      if (client == clients.end() || client->second.removed) return;
      client->second.queue.push_front(std::move(retry.item));
      offer_turn(retry.client, client->second);
    }
    pump(*lane);
  });
}

void Dispatcher::State::on_progress(std::vector<EvaluationReply> replies) {
  std::map<std::shared_ptr<TrialSink>,
           std::pair<std::vector<EvaluationReply>, std::vector<TrialNumber>>>
      told;
  {
    const std::lock_guard lock(mutex);
    for (EvaluationReply& reply : replies) {
      const auto found = running.find(reply.ticket);
      if (found == running.end() || found->second.cancelled) continue;
      auto sink = clients.at(found->second.client).client.sink.lock();
      if (!sink) continue;
      auto& [for_sink, numbers] = told[std::move(sink)];
      numbers.push_back(found->second.item.number);
      for_sink.push_back(std::move(reply));
    }
  }
  for (auto& [sink, progress] : told) {
    sink->progress(std::move(progress.first), std::move(progress.second));
  }
}

void Dispatcher::State::on_replies(Lane& lane, std::vector<EvaluationReply> replies) {
  std::vector<EvaluationReply> progress;
  std::vector<Over> over;
  over.reserve(replies.size());
  for (EvaluationReply& reply : replies) {
    if (reply.kind == ReplyKind::progress) {
      progress.push_back(std::move(reply));
      continue;
    }
    const AttemptEnd end =
        reply.kind == ReplyKind::fault ? AttemptEnd::fault : AttemptEnd::transient;
    over.push_back({reply.ticket, std::move(reply), end});
  }
  if (!progress.empty()) on_progress(std::move(progress));
  if (!over.empty()) on_over(lane, std::move(over));
}

void Dispatcher::State::on_over(Lane& lane, std::vector<Over> over) {
  // What comes together for one job stays together: it shares a commit.
  struct Told {
    std::shared_ptr<TrialSink> sink;
    std::vector<TrialSink::Completion> completions;
    std::vector<TrialSink::Ended> ended;
  };
  struct Left {
    ClientId client = 0;
    std::optional<Item> again;
    AttemptEnd end = AttemptEnd::transient;
  };
  struct Written {
    std::shared_ptr<const EvaluationContext> context;
    TrialNumber trial = 0;
    std::uint32_t attempt = 1;
    std::string text;
  };
  std::vector<Told> told;
  std::vector<Left> left;
  std::vector<Written> written;
  {
    const std::lock_guard lock(mutex);
    for (Over& one : over) {
      const auto found = running.find(one.ticket);
      if (found == running.end()) continue;
      Running attempt = std::move(found->second);
      running.erase(found);
      ClientState& client = clients.at(attempt.client);
      if (lane.leased()) {
        leased.erase(attempt.context->job + ":" + std::to_string(attempt.item.number) + ":" +
                     std::to_string(attempt.item.record.started));
      }
      if (!one.reply.log.empty() && options.keep_log) {
        written.push_back({attempt.context, attempt.item.number, attempt.item.record.started,
                           std::move(one.reply.log)});
      }
      const bool last = ends_trial(lane, client, attempt, one);
      Outcome& outcome = one.reply.outcome;
      if (auto sink = client.client.sink.lock()) {
        if (told.empty() || told.back().sink != sink) told.push_back({std::move(sink), {}, {}});
        if (last) {
          told.back().completions.push_back({attempt.item.number, std::move(outcome)});
        } else {
          told.back().ended.push_back({attempt.item.number, attempt.item.record.started, one.end,
                                       one.reply.worker, std::move(outcome.reason), outcome.cost});
        }
      }
      left.push_back({attempt.client, {}, one.end});
      if (last) {
        ++lane.completed;
      } else {
        if (one.end != AttemptEnd::released) ++lane.retried;
        left.back().again = std::move(attempt.item);
      }
    }
    completing += left.size();
  }
  for (Written& log : written) {
    options.keep_log(log.context->job, log.trial, log.attempt, std::move(log.text));
  }
  for (Told& to : told) {
    if (!to.ended.empty()) to.sink->ended(std::move(to.ended));
    if (!to.completions.empty()) to.sink->complete(std::move(to.completions));
  }
  {
    // Slots are free only now: with one in flight, the next must not be told before this one.
    const std::lock_guard lock(mutex);
    completing -= left.size();
    for (Left& one : left) {
      // While stopping, a trial that deserves another attempt stays asked and untold.
      if (one.again && !stopping && !clients.at(one.client).removed) {
        retry_later(one.client, std::move(*one.again), one.end);
      }
      leave(lane, one.client);
    }
    if (idle()) changed.notify_all();
  }
  pump(lane);
}

// ---- the interface -----------------------------------------------------------------------------

Dispatcher::Dispatcher(const Catalog& catalog, DispatcherOptions options)
    : state_(std::make_shared<State>()) {
  state_->options = options;
  for (const Catalog::NamedEvaluator& evaluator : catalog.evaluators()) {
    auto lane = std::make_unique<State::Lane>();
    lane->evaluator = &evaluator;
    state_->lanes.emplace(evaluator.name, std::move(lane));
  }
  timer_ = std::jthread([state = state_](const std::stop_token& stop) { state->run_timer(stop); });
}

Dispatcher::~Dispatcher() {
  timer_.request_stop();
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    for (auto& [id, client] : state_->clients) client.client.sink.reset();
    state_->changed.notify_all();
  }
  // Alarms may be on their way through what is about to go.
  timer_.join();
}

Dispatcher::ClientId Dispatcher::add_client(Client client) {
  const std::lock_guard lock(state_->mutex);
  const ClientId id = state_->next_client++;
  State::ClientState& added = state_->clients[id];
  added.lane = state_->lanes.at(client.evaluator).get();
  added.client = std::move(client);
  return id;
}

void Dispatcher::remove_client(ClientId id) {
  withdraw(id);
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->clients.find(id);
  if (found == state_->clients.end()) return;
  found->second.removed = true;
  auto& turns = found->second.lane->turns;
  turns.erase(std::remove(turns.begin(), turns.end(), id), turns.end());
  if (found->second.running == 0) state_->clients.erase(found);
}

void Dispatcher::set_parallelism(ClientId id, std::size_t parallelism) {
  State::Lane* lane = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    State::ClientState& client = state_->clients.at(id);
    client.parallelism = std::max<std::size_t>(parallelism, 1);
    state_->offer_turn(id, client);
    lane = client.lane;
  }
  state_->pump(*lane);
}

void Dispatcher::set_caps(ClientId id, const Spend& caps) {
  State::Lane* lane = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    State::ClientState& client = state_->clients.at(id);
    client.client.ledger.set_caps(caps);
    client.out_of_budget = false;
    state_->offer_turn(id, client);
    lane = client.lane;
  }
  state_->pump(*lane);
}

void Dispatcher::enqueue(ClientId id, std::vector<WorkItem> items) {
  State::Lane* lane = nullptr;
  std::vector<State::Over> over;
  {
    const std::lock_guard lock(state_->mutex);
    State::ClientState& client = state_->clients.at(id);
    for (WorkItem& item : items) {
      State::Item queued{item.number, std::move(item.candidate), std::move(item.so_far)};
      if (queued.record.open) {
        for (State::Over& ended : state_->adopt(id, client, std::move(queued))) {
          over.push_back(std::move(ended));
        }
      } else {
        client.queue.push_back(std::move(queued));
      }
    }
    state_->offer_turn(id, client);
    lane = client.lane;
  }
  if (!over.empty()) state_->on_over(*lane, std::move(over));
  state_->pump(*lane);
}

std::vector<TrialNumber> Dispatcher::withdraw(ClientId id) {
  const std::lock_guard lock(state_->mutex);
  std::vector<TrialNumber> numbers;
  const auto found = state_->clients.find(id);
  if (found == state_->clients.end()) return numbers;
  for (const State::Item& item : found->second.queue) numbers.push_back(item.number);
  found->second.queue.clear();
  found->second.out_of_budget = false;
  std::erase_if(state_->delayed, [&](const auto& entry) {
    if (entry.second.client != id) return false;
    numbers.push_back(entry.second.item.number);
    return true;
  });
  return numbers;
}

void Dispatcher::cancel(ClientId id) {
  withdraw(id);
  std::vector<std::uint64_t> tickets;
  Evaluator* evaluator = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->clients.find(id);
    if (found == state_->clients.end()) return;
    evaluator = found->second.lane->evaluator->evaluator.get();
    for (auto& [ticket, attempt] : state_->running) {
      if (attempt.client != id) continue;
      attempt.cancelled = true;
      tickets.push_back(ticket);
    }
  }
  for (const std::uint64_t ticket : tickets) evaluator->cancel(ticket);
}

void Dispatcher::cancel_trial(ClientId id, TrialNumber number) {
  std::uint64_t ticket = 0;
  Evaluator* evaluator = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->clients.find(id);
    if (found == state_->clients.end()) return;
    evaluator = found->second.lane->evaluator->evaluator.get();
    std::erase_if(found->second.queue,
                  [number](const State::Item& item) { return item.number == number; });
    std::erase_if(state_->delayed, [&](const auto& entry) {
      return entry.second.client == id && entry.second.item.number == number;
    });
    for (auto& [running, attempt] : state_->running) {
      if (attempt.client != id || attempt.item.number != number) continue;
      attempt.cancelled = true;
      ticket = running;
    }
  }
  if (ticket != 0) evaluator->cancel(ticket);
}

void Dispatcher::stop_dispatching() {
  std::vector<std::uint64_t> waiting;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    for (const auto& [name, lane] : state_->lanes) {
      for (const State::Waiter& waiter : lane->waiters) waiting.push_back(waiter.id);
    }
    state_->changed.notify_all();
  }
  for (const std::uint64_t id : waiting) give_up(id);
}

bool Dispatcher::wait_idle(double seconds) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, std::chrono::duration<double>(seconds),
                                  [this] { return state_->idle(); });
}

std::vector<LaneStatus> Dispatcher::lanes() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<LaneStatus> statuses;
  for (const auto& [name, lane] : state_->lanes) {
    LaneStatus status{name, lane->description().slots, lane->busy,
                      0,    lane->completed,           lane->retried};
    for (const auto& [id, client] : state_->clients) {
      if (client.lane == lane.get()) status.queued += client.queue.size();
    }
    statuses.push_back(std::move(status));
  }
  return statuses;
}

}  // namespace paretod
