#include "evaluators/process/process_link.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace paretod {
namespace {

/// Per stream and turn, so that one talkative child cannot keep the others waiting.
constexpr std::size_t bytes_per_turn = 256 * 1024;
/// More than a pipe holds; only a process that escaped the group can go on writing.
constexpr std::size_t bytes_after_exit = 4 * 1024 * 1024;

enum Slot : std::size_t { exited_slot, out_slot, err_slot, in_slot };

}  // namespace

Result<void> ProcessLink::spawn(const ChildCommand& command) {
  auto child = ChildProcess::spawn(command);
  if (!child) return child.error();
  child_.emplace(std::move(*child));
  output_.clear();
  written_ = 0;
  discard_lines();
  exited_ = false;
  closed_ = false;
  const std::lock_guard lock(tail_mutex_);
  tail_.clear();
  return {};
}

std::string ProcessLink::reap() {
  std::string how = child_->reap();
  child_.reset();
  return how;
}

void ProcessLink::flush() {
  if (output_.empty() || child_->in.get() < 0) return;
  while (written_ < output_.size()) {
    const ssize_t count =
        write(child_->in.get(), output_.data() + written_, output_.size() - written_);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      if (errno != EAGAIN) close_input();
      closed_ = closed_ || errno != EAGAIN;
      return;
    }
    written_ += static_cast<std::size_t>(count);
  }
  output_.clear();
  written_ = 0;
}

void ProcessLink::close_input() {
  child_->in.close();
}

void ProcessLink::prepare(PollSlots slots) const {
  for (pollfd& slot : slots) slot = {-1, 0, 0};
  if (!child_) return;
  slots[exited_slot] = {child_->exited.get(), POLLIN, 0};
  slots[out_slot] = {child_->out.get(), POLLIN, 0};
  slots[err_slot] = {child_->err.get(), POLLIN, 0};
  if (!output_.empty()) slots[in_slot] = {child_->in.get(), POLLOUT, 0};
}

void ProcessLink::receive(PollSlots slots) {
  if (!child_) return;
  if (slots[out_slot].revents != 0) read_output(bytes_per_turn);
  // stderr second, and whenever there was output: what was complained of before an answer was
  // written is then known with it.
  if (slots[err_slot].revents != 0 || slots[out_slot].revents != 0) read_errors(bytes_per_turn);
  if (slots[exited_slot].revents != 0) exited_ = true;
  if (slots[in_slot].revents != 0) flush();
}

void ProcessLink::receive_rest() {
  read_output(bytes_after_exit);
  read_errors(bytes_after_exit);
}

template <class Sink>
void ProcessLink::drain(FileDescriptor& fd, std::size_t most, Sink sink) {
  std::array<char, 64 * 1024> buffer;
  for (std::size_t total = 0; fd.get() >= 0 && total < most;) {
    const ssize_t count = read(fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return fd.close();
    const auto size = static_cast<std::size_t>(count);
    sink(std::string_view(buffer.data(), size));
    total += size;
    if (size < buffer.size()) return;
  }
}

void ProcessLink::read_output(std::size_t most) {
  if (child_->out.get() < 0) return;
  drain(child_->out, most, [this](std::string_view bytes) { lines_.append(bytes); });
  if (child_->out.get() < 0) closed_ = true;
}

void ProcessLink::read_errors(std::size_t most) {
  drain(child_->err, most, [this](std::string_view bytes) {
    const std::lock_guard lock(tail_mutex_);
    tail_.append(bytes);
  });
}

std::string ProcessLink::stderr_tail() const {
  const std::lock_guard lock(tail_mutex_);
  return std::string(tail_.bytes());
}

std::string ProcessLink::stderr_last_lines() const {
  const std::lock_guard lock(tail_mutex_);
  return tail_.last_lines();
}

std::uint64_t ProcessLink::stderr_position() const {
  const std::lock_guard lock(tail_mutex_);
  return tail_.written();
}

std::string ProcessLink::stderr_since(std::uint64_t position) const {
  const std::lock_guard lock(tail_mutex_);
  return printable_text(tail_.since(position), stderr_kept);
}

}  // namespace paretod
