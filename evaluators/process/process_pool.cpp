#include "evaluators/process/process_pool.hpp"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace paretod {
namespace {

using std::chrono::duration;
using std::chrono::duration_cast;

/// A process that closed a stream is usually about to exit, which explains more.
constexpr std::chrono::seconds closed_patience{1};
constexpr std::chrono::seconds kill_patience{2};

std::chrono::steady_clock::duration steady(duration<double> span) {
  return duration_cast<std::chrono::steady_clock::duration>(span);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string seconds_text(double seconds) {
  std::string text = std::to_string(seconds);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text + " s";
}

std::string worker_name(std::size_t index) {
  return "process " + std::to_string(index);
}

std::string with_last_words(std::string reason, const ProcessLink& link) {
  const std::string words = link.stderr_last_lines();
  if (!words.empty()) reason += "; the last lines of its stderr:\n" + words;
  return reason;
}

duration<double> restart_delay(unsigned failures) {
  if (failures <= 1) return duration<double>(0);
  return duration<double>(std::min(30.0, 0.1 * std::exp2(std::min(failures - 2, 20U))));
}

}  // namespace

ProcessPool::ProcessPool(PoolConfig config)
    : config_(std::move(config)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  for (std::size_t i = 0; i < config_.processes; ++i) {
    workers_.push_back(std::make_unique<Worker>());
  }
  thread_ = std::thread([this] { run(); });
}

ProcessPool::~ProcessPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

Result<Hello> ProcessPool::wait_started() {
  std::unique_lock lock(mutex_);
  started_.wait(lock, [this] { return startup_.has_value(); });
  return *startup_;
}

void ProcessPool::submit(std::vector<EvaluationRequest> requests, Evaluator::Reply reply) {
  const auto shared = std::make_shared<const Evaluator::Reply>(std::move(reply));
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    for (EvaluationRequest& request : requests) inbox_.push_back({std::move(request), shared});
    wake = std::exchange(sleeping_, false);
  }
  if (wake) eventfd_write(wake_.get(), 1);
}

void ProcessPool::cancel(std::uint64_t ticket) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    cancels_.push_back(ticket);
    wake = std::exchange(sleeping_, false);
  }
  if (wake) eventfd_write(wake_.get(), 1);
}

std::vector<std::string> ProcessPool::stderr_tails() const {
  std::vector<std::string> tails;
  for (const auto& worker : workers_) tails.push_back(worker->link.stderr_tail());
  return tails;
}

// ---- the pool's thread -------------------------------------------------------------------------

void ProcessPool::run() {
  // Writing to a child that has died raises SIGPIPE in this thread; blocked, it is only EPIPE.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);

  for (std::size_t i = 0; i < workers_.size(); ++i) start(i);
  while (take_inbox()) {
    on_timers();
    assign();
    for (const auto& worker : workers_) {
      if (worker->link.running()) worker->link.flush();
    }
    wait_for_events();
    for (std::size_t i = 0; i < workers_.size(); ++i) handle_events(i);
  }
  shut_down();
}

bool ProcessPool::take_inbox() {
  std::vector<Pending> requests;
  std::vector<std::uint64_t> cancels;
  {
    const std::lock_guard lock(mutex_);
    sleeping_ = false;
    if (stopping_) return false;
    requests.swap(inbox_);
    cancels.swap(cancels_);
  }
  for (Pending& pending : requests) queue_.push_back(std::move(pending));
  for (const std::uint64_t ticket : cancels) cancel_now(ticket);
  return true;
}

void ProcessPool::wait_for_events() {
  poll_.assign(1 + workers_.size() * ProcessLink::poll_slots, {-1, 0, 0});
  poll_[0] = {wake_.get(), POLLIN, 0};
  std::optional<Time> next;
  const auto sooner = [&next](Time time) { next = next ? std::min(*next, time) : time; };
  if (!timers_.empty()) sooner(timers_.begin()->first);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    workers_[i]->link.prepare(ProcessLink::PollSlots(poll_.data() + 1 + i * ProcessLink::poll_slots,
                                                     ProcessLink::poll_slots));
    if (workers_[i]->timer) sooner(*workers_[i]->timer);
  }
  int timeout_ms = -1;
  if (next) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - Clock::now()).count();
    timeout_ms = static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
  }
  {
    const std::lock_guard lock(mutex_);
    sleeping_ = inbox_.empty() && cancels_.empty() && !stopping_;
    if (!sleeping_) timeout_ms = 0;
  }
  poll(poll_.data(), poll_.size(), timeout_ms);
  if (poll_[0].revents != 0) {
    eventfd_t ignored;
    eventfd_read(wake_.get(), &ignored);
  }
}

void ProcessPool::handle_events(std::size_t index) {
  Worker& worker = *workers_[index];
  ProcessLink& link = worker.link;
  if (!link.running()) return;
  link.receive(ProcessLink::PollSlots(poll_.data() + 1 + index * ProcessLink::poll_slots,
                                      ProcessLink::poll_slots));
  if (link.exited()) link.receive_rest();
  const auto listening = [&worker] {
    return worker.state == State::starting || worker.state == State::ready;
  };
  while (listening()) {
    const auto line = link.next_line();
    if (!line) break;
    handle_line(index, *line);
  }
  if (listening() && link.lines().too_long()) {
    condemn(index, "wrote a line longer than " + std::to_string(longest_line) +
                       " bytes to stdout: " + printable_text(link.lines().rest(), 200));
  }
  if (!listening()) link.discard_lines();
  if (link.exited()) {
    handle_exit(index);
  } else if (link.closed() && worker.state == State::ready && !worker.timer) {
    worker.timer = Clock::now() + closed_patience;
  }
}

void ProcessPool::handle_line(std::size_t index, std::string_view line) {
  if (workers_[index]->state == State::starting) {
    handle_hello(index, line);
  } else {
    handle_message(index, line);
  }
}

void ProcessPool::handle_hello(std::size_t index, std::string_view line) {
  auto hello = parse_hello(line);
  if (!hello) {
    return condemn(index, "began with a line that is not its hello: " + printable_text(line, 200) +
                              "\n" + hello.error().text());
  }
  if (hello_ && hello_->canonical != hello->canonical) {
    return condemn(index, "said another hello than the processes before it");
  }
  hello_ = std::move(*hello);
  Worker& worker = *workers_[index];
  worker.state = State::ready;
  worker.timer.reset();
  const bool all_ready = std::all_of(workers_.begin(), workers_.end(), [](const auto& other) {
    return other->state == State::ready;
  });
  if (!all_ready) return;
  const std::lock_guard lock(mutex_);
  if (!startup_) startup_ = *hello_;
  started_.notify_all();
}

void ProcessPool::handle_message(std::size_t index, std::string_view line) {
  const auto message = parse_message(line);
  if (!message) {
    return condemn(index,
                   "wrote a line to stdout that is not a message (what is meant for people "
                   "belongs on stderr): " +
                       printable_text(line, 200) + "\n" + message.error().text());
  }
  if (const auto* progress = std::get_if<ProgressMessage>(&*message)) {
    return handle_progress(index, *progress);
  }
  Worker& worker = *workers_[index];
  const auto* result = std::get_if<ResultMessage>(&*message);
  const std::string& id = result != nullptr ? result->id : std::get<ErrorMessage>(*message).id;
  if (!worker.in_flight.contains(id)) {
    return condemn(index, "answered \"" + printable_text(id, 200) +
                              "\", which is no request that it was asked and has not answered");
  }
  worker.failures = 0;
  InFlight in_flight = take(worker, id);
  if (result != nullptr) {
    const auto& objectives = in_flight.pending.request.context->objectives;
    EvaluationReply reply = reply_of(*result, objectives, seconds_since(in_flight.sent));
    return answer_from(index, std::move(in_flight), std::move(reply));
  }
  const ErrorMessage& error = std::get<ErrorMessage>(*message);
  EvaluationReply reply = reply_of(error, seconds_since(in_flight.sent));
  if (in_flight.stage != Stage::running) {
    const Spend cost = reply.outcome.cost;
    reply = lost(in_flight, ReplyKind::fault, error.text);
    reply.outcome.cost = cost;
    reply.cost_known = true;
  }
  answer_from(index, std::move(in_flight), std::move(reply));
}

void ProcessPool::handle_progress(std::size_t index, const ProgressMessage& message) {
  Worker& worker = *workers_[index];
  const auto found = worker.in_flight.find(message.id);
  // It may have been overtaken by the answer: evaluators report from several threads.
  if (found == worker.in_flight.end()) return;
  const InFlight& in_flight = found->second;
  const EvaluationRequest& request = in_flight.pending.request;
  EvaluationReply reply = reply_of(message, request.context->objectives);
  reply.ticket = request.ticket;
  reply.worker = worker_name(index);
  reply.outcome.cost.seconds = seconds_since(in_flight.sent);
  std::vector<EvaluationReply> replies;
  replies.push_back(std::move(reply));
  (*in_flight.pending.reply)(std::move(replies));
}

void ProcessPool::handle_exit(std::size_t index) {
  Worker& worker = *workers_[index];
  const bool condemned = worker.state == State::ending;
  const bool before_hello = worker.state == State::starting;
  const std::string how = worker.link.reap();
  if (!condemned) {
    const std::string reason = with_last_words(
        "the evaluator process " + how + (before_hello ? " before its hello" : ""), worker.link);
    ++worker.failures;
    answer_all_lost(index, reason, {});
    schedule_restart(worker);
    if (before_hello) start_failed(reason);
    return;
  }
  schedule_restart(worker);
}

void ProcessPool::condemn(std::size_t index, const std::string& reason,
                          const std::string& culprit) {
  Worker& worker = *workers_[index];
  const bool before_hello = worker.state == State::starting;
  const std::string text = with_last_words("the evaluator process " + reason, worker.link);
  ++worker.failures;
  worker.state = State::ending;
  worker.timer.reset();
  worker.link.signal_group(SIGKILL);
  answer_all_lost(index, text, culprit);
  if (before_hello) start_failed(text);
}

void ProcessPool::schedule_restart(Worker& worker) {
  worker.state = State::waiting;
  worker.timer = Clock::now() + steady(restart_delay(worker.failures));
}

void ProcessPool::start(std::size_t index) {
  Worker& worker = *workers_[index];
  ChildCommand command = config_.command;
  command.environment.push_back("PARETOD_PROCESS=" + std::to_string(index));
  const auto spawned = worker.link.spawn(command);
  if (!spawned) {
    ++worker.failures;
    schedule_restart(worker);
    return start_failed(spawned.error().message);
  }
  worker.state = State::starting;
  worker.timer = Clock::now() + steady(config_.hello_timeout);
}

void ProcessPool::start_failed(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (!startup_) {
      startup_ = Error{ErrorKind::unavailable, "the evaluator does not start", {{"/argv", reason}}};
    }
  }
  started_.notify_all();
  const bool hope = std::any_of(workers_.begin(), workers_.end(), [](const auto& worker) {
    return worker->state == State::starting || worker->state == State::ready;
  });
  if (hope) return;
  for (Pending& pending : std::exchange(queue_, {})) {
    InFlight never_sent{std::move(pending), Clock::now()};
    EvaluationReply reply = lost(never_sent, ReplyKind::transient, reason);
    reply.cost_known = true;
    answer(std::move(never_sent), std::move(reply));
  }
}

// ---- requests ----------------------------------------------------------------------------------

void ProcessPool::assign() {
  std::vector<bool> held(workers_.size());
  for (auto next = queue_.begin(); next != queue_.end();) {
    const auto index = choose(next->request, held);
    if (index) {
      Pending pending = std::move(*next);
      next = queue_.erase(next);
      dispatch(*index, std::move(pending));
    } else if (next->request.avoid.empty()) {
      return;  // nor can those behind it go anywhere
    } else {
      ++next;
    }
  }
}

// A process that dies takes all that it works on with it, and nobody knows which of them killed it.
// So a request that failed elsewhere is given a process of its own: it cannot take others with it a
// second time, nor be blamed for them.
std::optional<std::size_t> ProcessPool::choose(const EvaluationRequest& request,
                                               std::vector<bool>& held) {
  const bool suspect = !request.avoid.empty();
  const std::size_t slots = hello_ ? hello_->description.slots : 0;
  std::optional<std::size_t> best;
  const auto better = [&](std::size_t index) {
    if (!best) return true;
    const bool avoided = worker_name(index) == request.avoid;
    const bool best_avoided = worker_name(*best) == request.avoid;
    if (suspect && avoided != best_avoided) return best_avoided;
    return workers_[index]->in_flight.size() < workers_[*best]->in_flight.size();
  };
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const Worker& worker = *workers_[i];
    if (worker.state != State::ready || worker.link.closed() || worker.isolated || held[i])
      continue;
    if (!suspect && worker.in_flight.size() >= slots) continue;
    if (better(i)) best = i;
  }
  if (!suspect || !best || workers_[*best]->in_flight.empty()) return best;
  held[*best] = true;
  return {};
}

void ProcessPool::dispatch(std::size_t index, Pending pending) {
  Worker& worker = *workers_[index];
  const EvaluationRequest& request = pending.request;
  std::string id = request.id();
  if (worker.in_flight.contains(id)) {
    return answer({std::move(pending), Clock::now()},
                  {0, ReplyKind::done,
                   Outcome::failure(TrialStatus::failed, "this attempt is already running")});
  }
  worker.link.send(evaluate_line(request, hello_->description));
  worker.isolated = !request.avoid.empty();
  InFlight in_flight{std::move(pending), Clock::now(), worker.link.stderr_position()};
  if (in_flight.pending.request.deadline_s > 0) {
    const auto allowed = steady(duration<double>(in_flight.pending.request.deadline_s));
    in_flight.timer = timers_.emplace(in_flight.sent + allowed, TimerKey{index, id});
  }
  worker.in_flight.emplace(std::move(id), std::move(in_flight));
}

void ProcessPool::cancel_now(std::uint64_t ticket) {
  const auto queued = std::find_if(queue_.begin(), queue_.end(), [ticket](const Pending& pending) {
    return pending.request.ticket == ticket;
  });
  if (queued != queue_.end()) {
    InFlight dropped{std::move(*queued), Clock::now(), 0, Stage::cancelled};
    queue_.erase(queued);
    EvaluationReply reply = lost(dropped, ReplyKind::done, "");
    return answer(std::move(dropped), std::move(reply));
  }
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    for (auto& [id, in_flight] : workers_[i]->in_flight) {
      if (in_flight.pending.request.ticket == ticket) {
        return ask_to_stop(*workers_[i], i, id, in_flight, Stage::cancelled);
      }
    }
  }
}

void ProcessPool::ask_to_stop(Worker& worker, std::size_t index, const std::string& id,
                              InFlight& in_flight, Stage stage) {
  if (std::exchange(in_flight.stage, stage) != Stage::running) return;
  worker.link.send(cancel_line(id));
  if (in_flight.timer) timers_.erase(*in_flight.timer);
  in_flight.timer = timers_.emplace(Clock::now() + steady(config_.grace), TimerKey{index, id});
}

void ProcessPool::on_timers() {
  const Time now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const TimerKey key = timers_.begin()->second;
    on_request_timer(key);
  }
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i]->timer && *workers_[i]->timer <= now) on_worker_timer(i);
  }
}

void ProcessPool::on_request_timer(const TimerKey& key) {
  Worker& worker = *workers_[key.worker];
  InFlight& in_flight = worker.in_flight.at(key.id);
  if (in_flight.stage == Stage::running) {
    return ask_to_stop(worker, key.worker, key.id, in_flight, Stage::overdue);
  }
  const std::string culprit = key.id;
  condemn(key.worker,
          "was stopped because it did not answer within " + seconds_text(config_.grace.count()) +
              " after a cancel",
          culprit);
}

void ProcessPool::on_worker_timer(std::size_t index) {
  Worker& worker = *workers_[index];
  worker.timer.reset();
  switch (worker.state) {
    case State::waiting:
      return start(index);
    case State::starting:
      return condemn(index, "said no hello within " + seconds_text(config_.hello_timeout.count()));
    case State::ready:
      return condemn(index, "closed its stdin or stdout");
    case State::ending:
      return;
  }
}

ProcessPool::InFlight ProcessPool::take(Worker& worker, const std::string& id) {
  auto node = worker.in_flight.extract(id);
  InFlight in_flight = std::move(node.mapped());
  if (in_flight.timer) timers_.erase(*in_flight.timer);
  in_flight.timer.reset();
  worker.isolated = false;
  return in_flight;
}

void ProcessPool::answer(InFlight in_flight, EvaluationReply reply) {
  reply.ticket = in_flight.pending.request.ticket;
  std::vector<EvaluationReply> replies;
  replies.push_back(std::move(reply));
  (*in_flight.pending.reply)(std::move(replies));
}

void ProcessPool::answer_from(std::size_t index, InFlight in_flight, EvaluationReply reply) {
  reply.worker = worker_name(index);
  reply.log = workers_[index]->link.stderr_since(in_flight.log_begin);
  answer(std::move(in_flight), std::move(reply));
}

EvaluationReply ProcessPool::lost(const InFlight& in_flight, ReplyKind kind,
                                  const std::string& reason) {
  EvaluationReply reply;
  reply.kind = kind;
  std::string text = reason;
  if (in_flight.stage == Stage::cancelled) {
    reply.kind = ReplyKind::done;
    text = "cancelled";
  } else if (in_flight.stage == Stage::overdue) {
    reply.kind = ReplyKind::fault;
    text = "no answer within the deadline of " +
           seconds_text(in_flight.pending.request.deadline_s) + "; " + reason;
  }
  reply.outcome = Outcome::failure(TrialStatus::failed, std::move(text));
  reply.outcome.cost.seconds = seconds_since(in_flight.sent);
  reply.cost_known = false;
  return reply;
}

void ProcessPool::answer_all_lost(std::size_t index, const std::string& reason,
                                  const std::string& culprit) {
  Worker& worker = *workers_[index];
  while (!worker.in_flight.empty()) {
    const std::string id = worker.in_flight.begin()->first;
    const bool blamed = culprit.empty() || culprit == id;
    InFlight in_flight = take(worker, id);
    EvaluationReply reply =
        lost(in_flight, blamed ? ReplyKind::fault : ReplyKind::transient, reason);
    answer_from(index, std::move(in_flight), std::move(reply));
  }
}

// ---- the end -----------------------------------------------------------------------------------

void ProcessPool::shut_down() {
  for (const auto& worker : workers_) {
    if (!worker->link.running()) continue;
    worker->link.close_input();
    worker->link.signal_group(SIGTERM);
  }
  if (wait_for_exits(Clock::now() + steady(config_.grace))) return;
  for (const auto& worker : workers_) {
    if (worker->link.running()) worker->link.signal_group(SIGKILL);
  }
  // A process that survives even this is stuck in the kernel; nothing here can wait it out.
  wait_for_exits(Clock::now() + kill_patience);
}

bool ProcessPool::wait_for_exits(Time until) {
  while (true) {
    std::size_t running = 0;
    poll_.assign(workers_.size() * ProcessLink::poll_slots, {-1, 0, 0});
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      workers_[i]->link.prepare(ProcessLink::PollSlots(poll_.data() + i * ProcessLink::poll_slots,
                                                       ProcessLink::poll_slots));
      if (workers_[i]->link.running()) ++running;
    }
    if (running == 0) return true;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    poll(poll_.data(), poll_.size(), static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      ProcessLink& link = workers_[i]->link;
      if (!link.running()) continue;
      // Keeps reading, so that none hangs on a full pipe while it tidies up.
      link.receive(ProcessLink::PollSlots(poll_.data() + i * ProcessLink::poll_slots,
                                          ProcessLink::poll_slots));
      link.discard_lines();
      if (link.exited()) link.reap();
    }
  }
}

}  // namespace paretod
