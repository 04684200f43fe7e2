#include "daemon/jobs/dispatcher.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <map>
#include <random>
#include <unordered_map>
#include <utility>

namespace paretod {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t poison_faults = 2;

/// Doubling from 0.2 s to 30 s, each scaled by a random factor in [0.5, 1).
Clock::duration backoff(std::uint32_t attempt, double random) {
  const double seconds = std::min(30.0, 0.2 * std::ldexp(1.0, static_cast<int>(attempt) - 1));
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(seconds * (0.5 + random / 2)));
}

}  // namespace

struct Dispatcher::Lane {
  const Catalog::NamedEvaluator* evaluator = nullptr;
  std::size_t busy = 0;
  std::uint64_t completed = 0;
  std::uint64_t retried = 0;
  std::deque<ClientId> turns;  ///< clients that may have something to run, in turn order
};

struct Dispatcher::State : std::enable_shared_from_this<State> {
  struct Item {
    WorkItem work;
    std::uint32_t attempt = 1;
    std::uint32_t faults = 0;
    std::string avoid = {};  ///< who failed at it last
  };
  struct ClientState {
    Client client;
    Lane* lane = nullptr;
    std::size_t parallelism = 1;
    std::size_t running = 0;
    bool in_turns = false;
    bool removed = false;
    std::deque<Item> queue;
  };
  struct Running {
    ClientId client = 0;
    Item item;
  };

  mutable std::mutex mutex;
  std::condition_variable changed;  // idle, or a retry was scheduled, or stopping
  std::map<std::string, std::unique_ptr<Lane>, std::less<>> lanes;
  std::map<ClientId, ClientState> clients;
  std::unordered_map<std::uint64_t, Running> running;
  std::multimap<Clock::time_point, Running> delayed;
  std::minstd_rand jitter{std::random_device{}()};
  std::size_t completing = 0;  ///< outcomes on their way to their jobs
  std::uint64_t next_ticket = 1;
  ClientId next_client = 1;
  bool stopping = false;

  [[nodiscard]] bool idle() const { return running.empty() && completing == 0; }

  void offer_turn(ClientId id, ClientState& client) {
    if (client.in_turns || client.queue.empty()) return;
    client.in_turns = true;
    client.lane->turns.push_back(id);
  }

  /// Takes as much work as the lane has free slots for, one item per client and turn.
  std::vector<EvaluationRequest> take(Lane& lane) {
    std::vector<EvaluationRequest> requests;
    const std::size_t slots = std::max<std::size_t>(lane.evaluator->description.slots, 1);
    while (!stopping && lane.busy < slots && !lane.turns.empty()) {
      const ClientId id = lane.turns.front();
      lane.turns.pop_front();
      ClientState& client = clients.at(id);
      client.in_turns = false;
      // A client at its limit comes back into the turns when one of its trials ends.
      if (client.queue.empty() || client.running >= client.parallelism) continue;
      Item item = std::move(client.queue.front());
      client.queue.pop_front();
      ++client.running;
      ++lane.busy;
      EvaluationRequest request;
      request.ticket = next_ticket++;
      request.context = client.client.context;
      request.trial = item.work.number;
      request.attempt = item.attempt;
      request.candidate = item.work.candidate;
      request.deadline_s = client.client.trial_timeout_s;
      request.avoid = item.avoid;
      running.emplace(request.ticket, Running{id, std::move(item)});
      requests.push_back(std::move(request));
      if (client.running < client.parallelism) offer_turn(id, client);
    }
    return requests;
  }

  void pump(Lane& lane) {
    std::vector<EvaluationRequest> requests;
    {
      const std::lock_guard lock(mutex);
      requests = take(lane);
    }
    if (requests.empty()) return;
    lane.evaluator->evaluator->evaluate(
        std::move(requests),
        [self = shared_from_this(), &lane](std::vector<EvaluationReply> replies) {
          self->on_replies(lane, std::move(replies));
        });
  }

  /// The trial is over: for its job, with `reply` as its end.  Empty when it gets another attempt.
  /// Needs the mutex.
  std::shared_ptr<TrialSink> settle(Lane& lane, ClientState& client, Running& ended,
                                    EvaluationReply& reply) {
    Item& item = ended.item;
    Outcome& outcome = reply.outcome;
    outcome.attempts = item.attempt;
    if (reply.kind != ReplyKind::done) {
      outcome.status = TrialStatus::failed;
      if (reply.kind == ReplyKind::fault) ++item.faults;
      const bool poison = item.faults >= poison_faults;
      if (!client.removed && !poison && item.attempt < client.client.max_attempts) {
        ++lane.retried;
        const double random = std::uniform_real_distribution<>(0, 1)(jitter);
        const auto due = Clock::now() + backoff(item.attempt, random);
        ++item.attempt;
        item.avoid = std::move(reply.worker);
        delayed.emplace(due, std::move(ended));
        return nullptr;
      }
      // While stopping, a trial that deserves another attempt stays asked and untold.
      if (stopping && !poison) return nullptr;
      if (poison) {
        outcome.reason = "poison: " + std::to_string(item.faults) +
                         " attempts broke the evaluator; the last one: " + outcome.reason;
      }
    }
    ++lane.completed;
    return client.client.sink.lock();
  }

  void on_replies(Lane& lane, std::vector<EvaluationReply> replies) {
    // Replies of one job that come together stay together: they share a commit.
    std::vector<std::pair<std::shared_ptr<TrialSink>, std::vector<TrialSink::Completion>>> done;
    std::vector<ClientId> ended_of;
    {
      const std::lock_guard lock(mutex);
      for (EvaluationReply& reply : replies) {
        if (reply.kind == ReplyKind::progress) continue;
        const auto found = running.find(reply.ticket);
        if (found == running.end()) continue;
        Running ended = std::move(found->second);
        running.erase(found);
        ended_of.push_back(ended.client);
        const TrialNumber number = ended.item.work.number;
        if (auto sink = settle(lane, clients.at(ended.client), ended, reply)) {
          if (done.empty() || done.back().first != sink) done.emplace_back(std::move(sink), 0);
          done.back().second.push_back({number, std::move(reply.outcome)});
        }
      }
      completing += ended_of.size();
    }
    for (auto& [sink, completions] : done) sink->complete(std::move(completions));
    {
      // Slots are free only now: with one in flight, the next must not be told before this one.
      const std::lock_guard lock(mutex);
      completing -= ended_of.size();
      lane.busy -= ended_of.size();
      for (const ClientId id : ended_of) {
        ClientState& client = clients.at(id);
        --client.running;
        if (client.removed && client.running == 0) {
          clients.erase(id);
        } else {
          offer_turn(id, client);
        }
      }
      if (idle() || !delayed.empty()) changed.notify_all();
    }
    pump(lane);
  }

  /// Moves retries that are due back to the front of their queues.
  void run_timer(const std::stop_token& stop) {
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      if (delayed.empty()) {
        changed.wait(lock, [&] { return stop.stop_requested() || !delayed.empty(); });
        continue;
      }
      const auto due = delayed.begin()->first;
      if (Clock::now() < due) {
        changed.wait_until(lock, due);
        continue;
      }
      Running retry = std::move(delayed.begin()->second);
      delayed.erase(delayed.begin());
      const auto client = clients.find(retry.client);
      if (client == clients.end() || client->second.removed) continue;
      client->second.queue.push_front(std::move(retry.item));
      offer_turn(retry.client, client->second);
      Lane& lane = *client->second.lane;
      lock.unlock();
      pump(lane);
      lock.lock();
    }
  }
};

Dispatcher::Dispatcher(const Catalog& catalog) : state_(std::make_shared<State>()) {
  for (const Catalog::NamedEvaluator& evaluator : catalog.evaluators()) {
    auto lane = std::make_unique<Lane>();
    lane->evaluator = &evaluator;
    state_->lanes.emplace(evaluator.name, std::move(lane));
  }
  timer_ = std::jthread([state = state_](const std::stop_token& stop) { state->run_timer(stop); });
}

Dispatcher::~Dispatcher() {
  timer_.request_stop();
  const std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  for (auto& [id, client] : state_->clients) client.client.sink.reset();
  state_->changed.notify_all();
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
  Lane* lane = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    State::ClientState& client = state_->clients.at(id);
    client.parallelism = std::max<std::size_t>(parallelism, 1);
    state_->offer_turn(id, client);
    lane = client.lane;
  }
  state_->pump(*lane);
}

void Dispatcher::enqueue(ClientId id, std::vector<WorkItem> items) {
  Lane* lane = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    State::ClientState& client = state_->clients.at(id);
    for (WorkItem& item : items) client.queue.push_back({std::move(item), 1});
    state_->offer_turn(id, client);
    lane = client.lane;
  }
  state_->pump(*lane);
}

std::vector<TrialNumber> Dispatcher::withdraw(ClientId id) {
  const std::lock_guard lock(state_->mutex);
  std::vector<TrialNumber> numbers;
  const auto found = state_->clients.find(id);
  if (found == state_->clients.end()) return numbers;
  for (const State::Item& item : found->second.queue) numbers.push_back(item.work.number);
  found->second.queue.clear();
  for (auto it = state_->delayed.begin(); it != state_->delayed.end();) {
    if (it->second.client == id) {
      numbers.push_back(it->second.item.work.number);
      it = state_->delayed.erase(it);
    } else {
      ++it;
    }
  }
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
    for (const auto& [ticket, running] : state_->running) {
      if (running.client == id) tickets.push_back(ticket);
    }
  }
  for (const std::uint64_t ticket : tickets) evaluator->cancel(ticket);
}

void Dispatcher::stop_dispatching() {
  const std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  state_->changed.notify_all();
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
    LaneStatus status{
        name, lane->evaluator->description.slots, lane->busy, 0, lane->completed, lane->retried};
    for (const auto& [id, client] : state_->clients) {
      if (client.lane == lane.get()) status.queued += client.queue.size();
    }
    statuses.push_back(std::move(status));
  }
  return statuses;
}

}  // namespace paretod
