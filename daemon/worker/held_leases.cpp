#include "daemon/worker/held_leases.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "evaluators/process/relay.hpp"

namespace paretod {
namespace {

/// Bytes of an attempt's log that travel with its result.
constexpr std::size_t longest_log = std::size_t{16} << 10;

bool contains(const std::vector<std::string>& leases, const std::string& lease) {
  return std::find(leases.begin(), leases.end(), lease) != leases.end();
}

/// Its last part, beginning with a line.
std::string end_of(const std::string& log) {
  if (log.size() <= longest_log) return log;
  const std::size_t line = log.find('\n', log.size() - longest_log);
  return line == std::string::npos ? std::string() : log.substr(line + 1);
}

std::string text_of(const nlohmann::json& message) {
  return message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::uint64_t HeldLeases::add(const std::string& lease, const std::string& id) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t ticket = next_ticket_++;
  held_.emplace(ticket, Held{lease, id, {}});
  return ticket;
}

void HeldLeases::set_objectives(std::uint64_t ticket, std::vector<Objective> objectives) {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(ticket);
  if (found != held_.end()) found->second.objectives = std::move(objectives);
}

std::optional<SpooledResult> HeldLeases::finish(const EvaluationReply& reply) {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(reply.ticket);
  if (found == held_.end() || !std::exchange(found->second.running, false)) return {};
  Held& held = found->second;
  held.progress.clear();
  return SpooledResult{held.lease, text_of(message_from_reply(held.id, reply, held.objectives)),
                       end_of(reply.log)};
}

void HeldLeases::note_progress(const EvaluationReply& reply) {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(reply.ticket);
  if (found == held_.end() || !found->second.running || found->second.lapsed) return;
  Held& held = found->second;
  held.progress = text_of(message_from_reply(held.id, reply, held.objectives));
}

std::vector<LeaseProgress> HeldLeases::take_progress() {
  const std::lock_guard lock(mutex_);
  std::vector<LeaseProgress> progress;
  for (auto& [ticket, held] : held_) {
    if (!held.progress.empty()) progress.push_back({held.lease, std::exchange(held.progress, {})});
  }
  return progress;
}

bool HeldLeases::has_progress() const {
  const std::lock_guard lock(mutex_);
  return std::any_of(held_.begin(), held_.end(),
                     [](const auto& entry) { return !entry.second.progress.empty(); });
}

void HeldLeases::lapse(const std::vector<std::string>& leases) {
  const std::lock_guard lock(mutex_);
  for (auto& [ticket, held] : held_) {
    if (contains(leases, held.lease)) held.lapsed = true;
  }
}

void HeldLeases::drop(const std::vector<std::string>& leases) {
  const std::lock_guard lock(mutex_);
  std::erase_if(held_, [&](const auto& entry) { return contains(leases, entry.second.lease); });
}

std::vector<std::string> HeldLeases::alive() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> leases;
  for (const auto& [ticket, held] : held_) {
    if (!held.lapsed) leases.push_back(held.lease);
  }
  return leases;
}

std::vector<std::string> HeldLeases::running() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> leases;
  for (const auto& [ticket, held] : held_) {
    if (held.running) leases.push_back(held.lease);
  }
  return leases;
}

std::size_t HeldLeases::running_count() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(
      held_.begin(), held_.end(), [](const auto& entry) { return entry.second.running; }));
}

std::optional<std::uint64_t> HeldLeases::ticket_of(const std::string& lease) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [ticket, held] : held_) {
    if (held.lease == lease && held.running) return ticket;
  }
  return {};
}

}  // namespace paretod
