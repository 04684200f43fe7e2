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
#include "adapters/json/json_text.hpp"
#include "adapters/llm/reply_reader.hpp"
#include "evaluators/process/file_descriptor.hpp"

namespace paretod::llm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t digits = 16;
constexpr std::int64_t day_s = 86'400;
/// What was written has to be read, however long the reply was.
constexpr JsonLimits line_limits{.depth = 64, .nodes = ~0UL, .string_bytes = ~0UL};
/// Between two fdatasync: free replies that come within it share the second one.  While some are
/// still under way nothing waits for it but the odd trial's end, with other trials to fill the
/// slots; what costs money, and an intent to pay, is written at once.
constexpr std::chrono::milliseconds commit_interval{100};

Error failure(const std::string& doing, const fs::path& path) {
  return {ErrorKind::unavailable,
          "cannot " + doing + " " + path.string() + ": " + std::generic_category().message(errno)};
}

std::int64_t now_s() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

enum class Kind { intent, answer, refused, unknown, resend };
constexpr const char* kind_names[] = {"intent", "answer", "refused", "unknown", "resend"};

/// A line but for what is only read again when somebody asks for it.
struct Record {
  Kind kind = Kind::intent;
  std::string key;
  std::string job;
  CallCost cost;
  std::int64_t at_s = 0;         ///< since 1970
  std::string fingerprint = {};  ///< of an answer that was read back
};

/// By hand: this is written once per call.  `name` and `more`, a JSON value: one more member.
void append_line(std::string& out, const Record& record, std::string_view name = {},
                 std::string_view more = {}) {
  const std::size_t begin = out.size();
  out.append(digits, '0');
  out += " {\"e\":\"";
  out += kind_names[static_cast<std::size_t>(record.kind)];
  out += "\",\"job\":";
  append_json_string(out, record.job);
  out += ",\"k\":";
  append_json_string(out, record.key);
  out += ",\"m\":";
  append_json_number(out, record.cost.micros);
  out += ",\"n\":";
  append_json_number(out, record.cost.tokens);
  if (!name.empty()) {
    out += ',';
    append_json_string(out, name);
    out += ':';
    out += more;
  }
  out += ",\"t\":";
  append_json_number(out, record.at_s);
  out += '}';
  const Sha256 digest = sha256(std::string_view(out).substr(begin + digits + 1));
  for (std::size_t i = 0; i < digits; ++i) {
    const unsigned half = digest[i / 2] >> (i % 2 == 0 ? 4U : 0U) & 15U;
    out[begin + i] = "0123456789abcdef"[half];
  }
  out += '\n';
}

/// Nothing where it lacks what every record has.
std::optional<Record> record_of(const JsonNode& value) {
  ReplyReader reader(value);
  Record out;
  const std::string kind = reader.text("/e");
  const auto* const name = std::find(std::begin(kind_names), std::end(kind_names), kind);
  if (name == std::end(kind_names)) return {};
  out.kind = static_cast<Kind>(name - std::begin(kind_names));
  out.key = reader.text("/k");
  out.job = reader.text_or("/job", "");
  out.cost.micros = static_cast<std::int64_t>(reader.count_or("/m", 0));
  out.cost.tokens = reader.count_or("/n", 0);
  out.at_s = static_cast<std::int64_t>(reader.count_or("/t", 0));
  if (out.kind == Kind::answer) out.fingerprint = reader.text_or("/reply/fingerprint", "");
  if (reader.failed()) return {};
  return out;
}

/// What a line without its end says; nothing when it is torn.
std::string_view text_of(std::string_view line) {
  if (line.size() <= digits || line[digits] != ' ') return {};
  const std::string_view text = line.substr(digits + 1);
  return sha256_hex(text).substr(0, digits) == line.substr(0, digits) ? text : std::string_view();
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
    std::unordered_map<std::string, Record> open;
    {
      std::ifstream in(path_, std::ios::binary);
      std::string line;
      FlatJson document;
      while (in && std::getline(in, line)) {
        const bool ended = !in.eof();
        const bool read = ended && document.read(text_of(line), line_limits);
        const auto record = read ? record_of(document.root()) : std::nullopt;
        if (record) {
          take(*record, size_, line.size(), open);
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
      intent.kind = Kind::unknown;
      intent.at_s = now_s();
      ++totals_.recovered;
      note(intent, 0, 0);
      append_line(text, intent, "why", "\"the evaluator ended while the call was under way\"");
    }
    if (!write_all(file_.get(), text) || fdatasync(file_.get()) != 0)
      return failure("write", path_);
    size_ += text.size() - (torn_ ? 1 : 0);
    torn_ = false;
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
    const bool whole = got == static_cast<ssize_t>(line.size());
    json record = json::parse(whole ? text_of(line) : "", nullptr, false);
    if (record.is_object() && record.contains("reply")) return std::move(record["reply"]);
    return Error{ErrorKind::corrupt, path_.string() + " does not give a reply back that it holds"};
  }

  void append(Record record, Written written, std::string_view name = {},
              std::string_view more = {}) {
    record.at_s = now_s();
    line_.clear();
    append_line(line_, record, name, more);
    bool wake = record.kind == Kind::intent || record.cost.micros != 0;
    {
      const std::lock_guard lock(mutex_);
      urgent_ = urgent_ || wake;
      wake = wake || idle_;
      text_ += line_;
      waiting_.push_back({std::move(record), line_.size(), std::move(written)});
    }
    if (wake) changed_.notify_one();
  }

  void flush() {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) return;
      urgent_ = true;
    }
    changed_.notify_one();
  }

  Totals totals_;
  std::map<std::pair<std::string, std::int64_t>, std::int64_t> spends_;
  std::unordered_map<std::string, std::string> fingerprints_;  ///< of jobs, as of load()

 private:
  struct Entry {
    std::uint64_t offset = 0;
    std::size_t length = 0;  ///< of the line without its end; 0: unknown
  };
  struct Waiting {
    Record record;
    std::size_t length;  ///< of its line
    Written written;
  };

  void take(const Record& record, std::uint64_t offset, std::size_t length,
            std::unordered_map<std::string, Record>& open) {
    if (!record.fingerprint.empty()) fingerprints_.try_emplace(record.job, record.fingerprint);
    if (record.kind == Kind::intent) {
      open[record.key] = record;
      return;
    }
    open.erase(record.key);
    note(record, offset, length);
  }

  /// What a durable record changes.
  void note(Record record, std::uint64_t offset, std::size_t length) {
    const std::int64_t micros = record.cost.micros;
    if (record.kind == Kind::answer) {
      entries_[std::move(record.key)] = {offset, length};
      ++totals_.answers;
      totals_.answers_micros += micros;
    } else if (record.kind == Kind::unknown) {
      entries_[std::move(record.key)] = {};
      ++totals_.unknown;
      totals_.unknown_micros += micros;
    } else {
      if (record.kind == Kind::resend) entries_.erase(record.key);
      return;
    }
    if (micros != 0) spends_[{record.job, record.at_s / day_s}] += micros;
  }

  void run() {
    std::string text;
    std::chrono::steady_clock::time_point next_commit;
    while (true) {
      std::vector<Waiting> batch;
      text.clear();
      {
        std::unique_lock lock(mutex_);
        changed_.wait_until(lock, next_commit, [this] { return stopping_ || urgent_; });
        idle_ = true;
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        idle_ = false;
        urgent_ = false;
        if (waiting_.empty()) return;
        batch.swap(waiting_);
        text.swap(text_);
      }
      if (torn_) text.insert(0, "\n");
      std::uint64_t offset = size_ + (torn_ ? 1 : 0);
      const bool good = write_all(file_.get(), text) && fdatasync(file_.get()) == 0;
      if (good) {
        size_ += text.size();
        torn_ = false;
      } else if (ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) {
        // What is written after a part of a line has to begin with its end.
        size_ = static_cast<std::uint64_t>(std::max<off_t>(0, lseek(file_.get(), 0, SEEK_END)));
        torn_ = true;
      }
      next_commit = std::chrono::steady_clock::now() + commit_interval;
      post_([this, good, offset, batch = std::make_shared<std::vector<Waiting>>(std::move(batch))] {
        std::uint64_t at = offset;
        for (Waiting& waiting : *batch) {
          if (good) note(std::move(waiting.record), at, waiting.length - 1);
          at += waiting.length;
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
  std::unordered_map<std::string, Entry, ContentHash> entries_;  // the caller's thread
  std::string line_;  // likewise: the one that is being made

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Waiting> waiting_;
  std::string text_;     ///< their lines
  bool urgent_ = false;  ///< they are not to wait for others
  bool idle_ = false;    ///< the writer has nothing to do
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
  state_->append({Kind::intent, key, job, worst}, std::move(written));
}
void ResponseLedger::answer(const std::string& key, const std::string& job, CallCost cost,
                            std::string_view reply, Written written) {
  state_->append({Kind::answer, key, job, cost}, std::move(written), "reply", reply);
}
void ResponseLedger::unknown(const std::string& key, const std::string& job, CallCost worst,
                             const std::string& why, Written written) {
  std::string text;
  append_json_string(text, why);
  state_->append({Kind::unknown, key, job, worst}, std::move(written), "why", text);
}
void ResponseLedger::refused(const std::string& key, const std::string& job) {
  state_->append({Kind::refused, key, job, {}}, {});
}
void ResponseLedger::resend(const std::string& key, const std::string& job) {
  state_->append({Kind::resend, key, job, {}}, {});
}
void ResponseLedger::flush() {
  state_->flush();
}
void ResponseLedger::for_each_spend(const Visit& visit) const {
  for (const auto& [where, micros] : state_->spends_) visit(where.first, where.second, micros);
}
std::string ResponseLedger::first_fingerprint(const std::string& job) const {
  const auto found = state_->fingerprints_.find(job);
  return found == state_->fingerprints_.end() ? "" : found->second;
}

const ResponseLedger::Totals& ResponseLedger::totals() const {
  return state_->totals_;
}

}  // namespace paretod::llm
