#pragma once
// A child process with buffered, non-blocking lines to and from it.  Mechanics only: when to
// start, kill or blame the child is its owner's business.  Used by one thread; stderr_tail() by
// any.

#include <poll.h>

#include <cstddef>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "evaluators/process/child.hpp"
#include "evaluators/process/protocol.hpp"
#include "evaluators/process/text.hpp"

namespace paretod {

class ProcessLink {
 public:
  static constexpr std::size_t stderr_kept = 64 * 1024;

  /// Starts a child with empty buffers.  Requires !running().
  Result<void> spawn(const ChildCommand& command);
  [[nodiscard]] bool running() const { return child_.has_value(); }
  void signal_group(int signal) const { child_->signal_group(signal); }
  /// After exited(): see ChildProcess::reap().
  std::string reap();

  /// Queues bytes; flush() writes what the pipe takes.
  void send(std::string_view bytes) { output_ += bytes; }
  void flush();
  /// Nothing more will be written.
  void close_input();

  /// Whole lines that have arrived, one at a time; see LineBuffer.
  std::optional<std::string_view> next_line() { return lines_.next(); }
  [[nodiscard]] const LineBuffer& lines() const { return lines_; }
  void discard_lines() { lines_ = LineBuffer(longest_line); }

  /// What to poll for, and what to do when poll() returned: reads a bounded amount.
  static constexpr std::size_t poll_slots = 4;
  using PollSlots = std::span<pollfd, poll_slots>;
  void prepare(PollSlots slots) const;
  void receive(PollSlots slots);
  /// Reads what a child that has exited left in its pipes.
  void receive_rest();

  [[nodiscard]] bool exited() const { return exited_; }
  /// The child has closed its stdin or stdout.
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::string stderr_tail() const;
  [[nodiscard]] std::string stderr_last_lines() const;
  /// A place in what the child writes to stderr, and what it wrote after such a place: printable,
  /// at most `stderr_kept` bytes.
  [[nodiscard]] std::uint64_t stderr_position() const;
  [[nodiscard]] std::string stderr_since(std::uint64_t position) const;

 private:
  /// Reads up to `most` bytes into `sink`; closes the descriptor at its end.
  template <class Sink>
  void drain(FileDescriptor& fd, std::size_t most, Sink sink);
  void read_output(std::size_t most);
  void read_errors(std::size_t most);

  std::optional<ChildProcess> child_;
  std::string output_;
  std::size_t written_ = 0;
  LineBuffer lines_{longest_line};
  bool exited_ = false;
  bool closed_ = false;
  mutable std::mutex tail_mutex_;
  TailBuffer tail_{stderr_kept};
};

}  // namespace paretod
