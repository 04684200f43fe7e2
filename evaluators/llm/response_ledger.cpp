#include "evaluators/llm/response_ledger.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "adapters/hash/sha256.hpp"
#include "evaluators/process/file_descriptor.hpp"

namespace paretod::llm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t digits = 16;
constexpr std::int64_t day_s = 86'400;

Error failure(const std::string& doing, const fs::path& path) {
  return {ErrorKind::unavailable,
          "cannot " + doing + " " + path.string() + ": " + std::generic_category().message(errno)};
}

std::int64_t now_s() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

std::string signed_line(const json& record) {
  const std::string text = record.dump(-1, ' ', false, json::error_handler_t::replace);
  return sha256_hex(text).substr(0, digits) + " " + text + "\n";
}

/// A line without its end; no object when it is torn.
json read_line(std::string_view line) {
  if (line.size() <= digits || line[digits] != ' ') return {};
  const std::string_view text = line.substr(digits + 1);
  if (sha256_hex(text).substr(0, digits) != line.substr(0, digits)) return {};
  json record = json::parse(text, nullptr, false);
  return record.is_object() && record.contains("k") && record.contains("e") ? record : json();
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

class ResponseLedger::State {
 public:
  State(fs::path path, FileDescriptor lock, Post post)
      : path_(std::move(path)), lock_(std::move(lock)), post_(std::move(post)) {}
  ~State() {
    if (!writer_.joinable()) return;
    {
      const std::lock_guard queue_lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    writer_.join();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Result<void> load() {
    std::unordered_map<std::string, json> open;
    {
      std::ifstream in(path_, std::ios::binary);
      std::string line;
      while (in && std::getline(in, line)) {
        const bool ended = !in.eof();
        const json record = ended ? read_line(line) : json();
        if (record.is_object()) {
          take(record, size_, line.size(), open);
        } else {
          ++totals_.dropped;
        }
        size_ += line.size() + (ended ? 1 : 0);
        torn_ = !ended;
      }
    }
    file_ = FileDescriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (file_.get() < 0) return failure("open", path_);
    std::string text;
    // Never append to a torn line.
    if (torn_) {
      text = "\n";
      ++size_;
    }
    for (auto& [key, intent] : open) {
      intent["e"] = "unknown";
      intent["t"] = now_s();
      intent["why"] = "the evaluator ended while the call was under way";
      ++totals_.recovered;
      note(intent, 0, 0);
      text += signed_line(intent);
    }
    if (!write_all(file_.get(), text) || fdatasync(file_.get()) != 0)
      return failure("write", path_);
    size_ += text.size() - (torn_ ? 1 : 0);
    const FileDescriptor folder(
        ::open(path_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0 || fsync(folder.get()) != 0) return failure("write", path_.parent_path());
    writer_ = std::thread([this] { run(); });
    return {};
  }

  [[nodiscard]] Known find(const std::string& key) const {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return Known::nothing;
    return found->second.length == 0 ? Known::unknown : Known::answered;
  }

  [[nodiscard]] Result<json> reply(const std::string& key) const {
    const Entry& entry = entries_.at(key);
    std::string line(entry.length, '\0');
    const ssize_t got =
        pread(file_.get(), line.data(), line.size(), static_cast<off_t>(entry.offset));
    const json record = got == static_cast<ssize_t>(line.size()) ? read_line(line) : json();
    if (record.is_object() && record.contains("reply")) return record["reply"];
    return Error{ErrorKind::corrupt, path_.string() + " does not give a reply back that it holds"};
  }

  void append(const char* event, const std::string& key, const std::string& job, CallCost cost,
              json more, Written written) {
    json record = std::move(more);
    record["t"] = now_s();
    record["k"] = key;
    record["e"] = event;
    record["job"] = job;
    record["m"] = cost.micros;
    record["n"] = cost.tokens;
    std::string line = signed_line(record);
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back({std::move(line), std::move(written), std::move(record)});
    }
    changed_.notify_one();
  }

  Totals totals_;
  std::map<std::pair<std::string, std::int64_t>, std::int64_t> spends_;

 private:
  struct Entry {
    std::uint64_t offset = 0;
    std::size_t length = 0;  ///< of the line without its end; 0: unknown
  };
  struct Waiting {
    std::string line;
    Written written;
    json record;
  };

  void take(const json& record, std::uint64_t offset, std::size_t length,
            std::unordered_map<std::string, json>& open) {
    const auto key = record["k"].get<std::string>();
    if (record["e"] == "intent") {
      open[key] = record;
      return;
    }
    open.erase(key);
    note(record, offset, length);
  }

  /// What a durable record changes.
  void note(const json& record, std::uint64_t offset, std::size_t length) {
    const auto& event = record["e"].get_ref<const std::string&>();
    const auto& key = record["k"].get_ref<const std::string&>();
    const std::int64_t micros = record.value("m", std::int64_t{0});
    if (event == "answer") {
      entries_[key] = {offset, length};
      ++totals_.answers;
      totals_.answers_micros += micros;
    } else if (event == "unknown") {
      entries_[key] = {};
      ++totals_.unknown;
      totals_.unknown_micros += micros;
    } else {
      if (event == "resend") entries_.erase(key);
      return;
    }
    spends_[{record.value("job", ""), record.value("t", std::int64_t{0}) / day_s}] += micros;
  }

  void run() {
    while (true) {
      std::vector<Waiting> batch;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        batch.swap(waiting_);
      }
      std::string text;
      for (const Waiting& waiting : batch) text += waiting.line;
      const bool good = write_all(file_.get(), text) && fdatasync(file_.get()) == 0;
      std::uint64_t offset = size_;
      size_ = good
                  ? size_ + text.size()
                  : static_cast<std::uint64_t>(std::max<off_t>(0, lseek(file_.get(), 0, SEEK_END)));
      post_([this, good, offset, batch = std::make_shared<std::vector<Waiting>>(std::move(batch))] {
        std::uint64_t at = offset;
        for (Waiting& waiting : *batch) {
          if (good) note(waiting.record, at, waiting.line.size() - 1);
          at += waiting.line.size();
          if (waiting.written) waiting.written(good);
        }
      });
    }
  }

  const fs::path path_;
  FileDescriptor lock_;
  FileDescriptor file_;
  const Post post_;
  std::uint64_t size_ = 0;  // the writer's, once it runs
  bool torn_ = false;
  std::unordered_map<std::string, Entry> entries_;  // the caller's thread

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Waiting> waiting_;
  bool stopping_ = false;
  std::thread writer_;
};

ResponseLedger::ResponseLedger(std::unique_ptr<State> state) : state_(std::move(state)) {}
ResponseLedger::~ResponseLedger() = default;

Result<std::unique_ptr<ResponseLedger>> ResponseLedger::open(const fs::path& folder, Post post) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return Error{ErrorKind::denied,
                 "cannot make the folder " + folder.string() + ": " + error.message()};
  }
  fs::permissions(folder, fs::perms::owner_all, error);
  const fs::path lock_path = folder / "lock";
  FileDescriptor lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.get() < 0) return failure("open", lock_path);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failure("lock", lock_path);
    return Error{ErrorKind::conflict,
                 "another evaluator process uses the folder " + folder.string() +
                     ": one provider has one process, whose slots all jobs share"};
  }
  auto state = std::make_unique<State>(folder / "ledger.jsonl", std::move(lock), std::move(post));
  if (auto loaded = state->load(); !loaded) return loaded.error();
  return std::unique_ptr<ResponseLedger>(new ResponseLedger(std::move(state)));
}

ResponseLedger::Known ResponseLedger::find(const std::string& key) const {
  return state_->find(key);
}
Result<json> ResponseLedger::reply(const std::string& key) const {
  return state_->reply(key);
}
void ResponseLedger::intend(const std::string& key, const std::string& job, CallCost worst,
                            Written written) {
  state_->append("intent", key, job, worst, json::object(), std::move(written));
}
void ResponseLedger::answer(const std::string& key, const std::string& job, CallCost cost,
                            const json& reply, Written written) {
  state_->append("answer", key, job, cost, {{"reply", reply}}, std::move(written));
}
void ResponseLedger::unknown(const std::string& key, const std::string& job, CallCost worst,
                             const std::string& why, Written written) {
  state_->append("unknown", key, job, worst, {{"why", why}}, std::move(written));
}
void ResponseLedger::refused(const std::string& key, const std::string& job) {
  state_->append("refused", key, job, {}, json::object(), {});
}
void ResponseLedger::resend(const std::string& key, const std::string& job) {
  state_->append("resend", key, job, {}, json::object(), {});
}
void ResponseLedger::for_each_spend(const Visit& visit) const {
  for (const auto& [where, micros] : state_->spends_) visit(where.first, where.second, micros);
}
const ResponseLedger::Totals& ResponseLedger::totals() const {
  return state_->totals_;
}

}  // namespace paretod::llm
