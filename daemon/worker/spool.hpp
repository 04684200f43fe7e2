#pragma once
// Finished results on disk until the daemon has them: what an evaluation cost hours or money to
// find must not be lost with a connection, a daemon or this process.  An append-only file, one line
// per result: the first 16 digits of the SHA-256 of the rest of the line, a blank, and
// {"lease":"..","message":{..},"log":".."}.  A line that a crash left torn does not match its
// digits and is dropped; it was never reported, since reporting follows fdatasync.
//
// Acknowledgements are not written down: results that the daemon already has may be read again
// after a crash, are reported again and answered "duplicate".
//
// Thread-safe.

#include <cstddef>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "evaluators/process/file_descriptor.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct SpooledResult {
  std::string lease;     ///< token
  std::string message;   ///< of the evaluator protocol, as JSON
  std::string log = {};  ///< what the attempt wrote to stderr, its end
};

class Spool {
 public:
  /// Opens or creates `folder`/`name`.jsonl.  The folder belongs to one spool at a time: conflict
  /// if another process has it.  Other errors: the folder or file cannot be used.
  static Result<std::unique_ptr<Spool>> open(const std::filesystem::path& folder,
                                             const std::string& name);

  /// Durable when it returns without an error.  With one (a full disk) the results are kept in
  /// memory and pending all the same.
  Result<void> add(std::vector<SpooledResult> results);

  /// The oldest results that were not acknowledged: at most `count`, and no more than `bytes` of
  /// messages unless the first alone has more.
  [[nodiscard]] std::vector<SpooledResult> pending(std::size_t count, std::size_t bytes) const;
  [[nodiscard]] std::size_t pending_count() const;

  /// The daemon has them, or never will.
  void acknowledge(const std::vector<std::string>& leases);
  /// Moves a result that the daemon will not read to `folder`/refused.jsonl, for people.
  Result<void> set_aside(const std::string& lease, const std::string& reason);

  /// Lines that were dropped when it was opened.
  [[nodiscard]] std::size_t dropped() const { return dropped_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  Spool(std::filesystem::path folder, const std::string& name, FileDescriptor lock);

  Result<void> load();
  Result<void> append(const std::string& text);
  /// Writes what is pending to a new file that replaces the old one.
  Result<void> rewrite();
  void shrink();

  std::filesystem::path folder_;
  std::filesystem::path path_;
  FileDescriptor lock_;
  FileDescriptor file_;
  std::size_t dropped_ = 0;

  mutable std::mutex mutex_;
  std::deque<SpooledResult> pending_;  ///< oldest first
  std::size_t pending_bytes_ = 0;
  std::size_t file_bytes_ = 0;
};

}  // namespace paretod
