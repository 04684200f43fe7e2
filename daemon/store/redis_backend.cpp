#include "daemon/store/redis_backend.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <thread>
#include <utility>

#include "adapters/redis/redis_refusal.hpp"
#include "adapters/redis/redis_server_check.hpp"

namespace paretod {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using Kind = RedisReply::Kind;

constexpr milliseconds longest_pause{50};

/// 1, 2, 4, ... 50 ms.
class Backoff {
 public:
  milliseconds next() { return std::exchange(delay_, std::min(delay_ * 2, longest_pause)); }
  void reset() { delay_ = milliseconds(1); }

 private:
  milliseconds delay_{1};
};

bool is_name(std::string_view text, std::string_view punctuation) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           punctuation.find(c) != std::string_view::npos;
  });
}

Result<void> check_job_name(const std::string& job) {
  if (!job.empty() && job.size() <= 64 && is_name(job, "._-")) return {};
  return invalid("a job cannot be named '" + job + "': use 1 to 64 of A-Z a-z 0-9 . _ -");
}

/// An entry of a stream: its id, and its events as elements 1, 3, 5, ... of `fields`.
struct StreamEntry {
  EventId last;
  const std::vector<RedisReply>* fields = nullptr;

  [[nodiscard]] std::size_t size() const { return fields->size() / 2; }
  [[nodiscard]] const std::string& event(std::size_t i) const { return (*fields)[2 * i + 1].text; }
};

/// Nothing if it is not one that paretod wrote.
std::optional<StreamEntry> parse_entry(const RedisReply& reply) {
  if (reply.elements.size() != 2) return std::nullopt;
  const auto id = EventId::parse(reply.elements[0].text);
  const std::vector<RedisReply>& fields = reply.elements[1].elements;
  if (!id || fields.empty() || fields.size() % 2 != 0) return std::nullopt;
  for (std::size_t i = 0; i < fields.size(); i += 2) {
    if (fields[i].text != "e") return std::nullopt;
  }
  StreamEntry entry{*id, &fields};
  if (entry.size() > id->number) return std::nullopt;
  return entry;
}

bool holds(const StreamEntry& entry, const Batch& batch) {
  if (entry.last != batch.last || entry.size() != batch.events.size()) return false;
  for (std::size_t i = 0; i < entry.size(); ++i) {
    if (entry.event(i) != batch.events[i]) return false;
  }
  return true;
}

/// As the start of an XRANGE that leaves the id itself out.
std::string beyond(EventId id) {
  std::string text = id.text();
  text.insert(0, 1, '(');
  return text;
}

Error damaged(const std::string& job, const std::string& what) {
  return Error{ErrorKind::corrupt, "the log of job '" + job + "' cannot be trusted: " + what};
}

Error no_log(const std::string& job) {
  return Error{ErrorKind::not_found, "there is no log of job '" + job + "'"};
}

std::string random_uuid() {
  std::array<unsigned char, 16> bytes{};
  // Fails only for sizes above 256 bytes or bad pointers.
  (void)getrandom(bytes.data(), bytes.size(), 0);
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text;
}

}  // namespace

RedisBackend::RedisBackend(RedisBackendOptions options, std::string durability)
    : options_(std::move(options)), durability_(std::move(durability)) {}

RedisBackend::~RedisBackend() = default;

Result<std::unique_ptr<RedisBackend>> RedisBackend::connect(RedisBackendOptions options) {
  if (!is_name(options.prefix, "._:-")) {
    return invalid("the Redis key prefix '" + options.prefix +
                   "' may hold only A-Z a-z 0-9 . _ : -");
  }
  const auto start = Clock::now();
  Backoff backoff;
  std::string told;
  auto connection = RedisConnection::connect(options.address, options.timeouts);
  while (true) {
    if (!connection) return connection.error();
    auto durability = check_redis_server(*connection, options.address, options.prefix,
                                         options.declared_durability);
    if (durability) {
      std::unique_ptr<RedisBackend> backend(
          new RedisBackend(std::move(options), std::move(*durability)));
      backend->give_back(std::move(*connection));
      return backend;
    }
    const Error& error = durability.error();
    // A server that answers is loading; one that does not is in trouble.
    const auto patience = connection->idle() ? options.loading_patience : options.patience;
    if (error.kind != ErrorKind::unavailable || Clock::now() - start >= patience) return error;
    if (options.on_progress && error.message != told) options.on_progress(told = error.message);
    std::this_thread::sleep_for(backoff.next());
    if (!connection->idle()) {
      connection = RedisConnection::connect(options.address, options.timeouts);
    }
  }
}

Result<std::string> RedisBackend::check_instance(const std::optional<std::string>& known) {
  const std::string key = options_.prefix + "instance";
  const std::string fresh = random_uuid();
  const std::string where = "Redis at " + options_.address.text();
  return persist<std::string>(
      [&](RedisConnection& connection, std::string& why) -> std::optional<Result<std::string>> {
        // Only a daemon that has never met this server may name it; SET NX lets one of two win.
        if (!known) connection.append({"SET", key, fresh, "NX"});
        connection.append({"GET", key});
        RedisReply stored;
        for (int left = known ? 1 : 2; left > 0; --left) {
          auto reply = connection.read();
          if (!reply) {
            why = reply.error().message;
            return std::nullopt;
          }
          if (reply->is_error()) {
            const RedisRefusal refusal(reply->text);
            why = refusal.error(options_.address).message;
            if (refusal.meaning() == RedisRefusal::Meaning::try_later) return std::nullopt;
            return refusal.error(options_.address);
          }
          stored = std::move(*reply);
        }
        if (stored.kind != Kind::text) {
          return Error{ErrorKind::corrupt,
                       where + " does not hold the data of this daemon (instance " +
                           known.value_or(fresh) +
                           "): it is another server, or it lost everything; point paretod at the "
                           "right server or restore its data, or use a new state directory"};
        }
        if (known && stored.text != *known) {
          return Error{ErrorKind::conflict, where + " holds the data of another daemon (instance " +
                                                stored.text + ", not " + *known +
                                                "); use that daemon's state directory, or another "
                                                "server or prefix"};
        }
        return stored.text;
      });
}

std::string RedisBackend::log_key(const std::string& job) const {
  return options_.prefix + "{" + job + "}:log";
}

// ------------------------------------------------------------------------------- round trips

void RedisBackend::send_append(RedisConnection& connection, const Batch& batch) const {
  const std::string key = log_key(batch.job);
  const std::string id = batch.last.text();
  std::vector<std::string_view> arguments;
  arguments.reserve(4 + 2 * batch.events.size());
  arguments.assign({"XADD", key, "NOMKSTREAM", id});
  for (const std::string& event : batch.events) {
    arguments.emplace_back("e");
    arguments.emplace_back(event);
  }
  connection.append(arguments);
}

RedisBackend::Verdict RedisBackend::receive_append(RedisConnection& connection,
                                                   const Batch& batch) const {
  auto reply = connection.read();
  if (!reply) return {Verdict::Kind::lost, reply.error()};
  if (reply->is_error()) return refused(*reply);
  if (reply->kind == Kind::nil) {
    return {Verdict::Kind::failed, damaged(batch.job, "it has been deleted")};
  }
  if (reply->text != batch.last.text()) {
    return {Verdict::Kind::failed,
            damaged(batch.job, "Redis stored " + batch.last.text() + " as " + reply->text)};
  }
  return {Verdict::Kind::done};
}

void RedisBackend::send_look(RedisConnection& connection, const Batch& batch) const {
  const std::string key = log_key(batch.job);
  connection.append({"MULTI"});
  connection.append({"XRANGE", key, beyond(batch.previous), batch.last.text()});
  connection.append({"XREVRANGE", key, "+", "-", "COUNT", "1"});
  connection.append({"EXEC"});
}

RedisBackend::Verdict RedisBackend::receive_look(RedisConnection& connection,
                                                 const Batch& batch) const {
  std::optional<RedisReply> first_error;
  RedisReply executed;
  for (int i = 0; i < 4; ++i) {
    auto reply = connection.read();
    if (!reply) return {Verdict::Kind::lost, reply.error()};
    if (reply->is_error() && !first_error) first_error = *reply;
    executed = std::move(*reply);
  }
  for (const RedisReply& answer : executed.elements) {
    if (answer.is_error() && !first_error) first_error = answer;
  }
  if (first_error) return refused(*first_error);
  if (executed.elements.size() != 2) {
    return {Verdict::Kind::failed, damaged(batch.job, "Redis answered a look at it nonsensically")};
  }
  return judge(batch, executed.elements[0], executed.elements[1]);
}

RedisBackend::Verdict RedisBackend::judge(const Batch& batch, const RedisReply& found,
                                          const RedisReply& top) const {
  const auto failed = [&](const std::string& what) {
    return Verdict{Verdict::Kind::failed, damaged(batch.job, what)};
  };
  if (top.elements.empty()) return failed("it has been deleted");
  const auto last = parse_entry(top.elements[0]);
  if (!last) return failed("its last entry is not one of paretod's");
  if (found.elements.size() == 1) {
    const auto entry = parse_entry(found.elements[0]);
    if (entry && holds(*entry, batch)) return {Verdict::Kind::done};
  }
  if (found.elements.empty()) {
    if (last->last == batch.previous) return {Verdict::Kind::absent};
    if (last->last.epoch > batch.last.epoch) {
      return {Verdict::Kind::failed,
              Error{ErrorKind::conflict, "job '" + batch.job +
                                             "' has a new owner, which writes in epoch " +
                                             std::to_string(last->last.epoch)}};
    }
  }
  if (last->last < batch.previous) {
    return failed("it ends at " + last->last.text() + " although Redis had acknowledged " +
                  batch.previous.text() + "; Redis has lost data");
  }
  return failed("behind " + batch.previous.text() + " it holds what its owner did not write");
}

RedisBackend::Verdict RedisBackend::refused(const RedisReply& reply) const {
  const RedisRefusal refusal(reply.text);
  switch (refusal.meaning()) {
    case RedisRefusal::Meaning::id_taken:
      return {Verdict::Kind::unknown,
              Error{ErrorKind::unavailable, "the log grew while it was appended to"}};
    case RedisRefusal::Meaning::try_later:
      return {Verdict::Kind::try_later, refusal.error(options_.address)};
    case RedisRefusal::Meaning::final:
      break;
  }
  return {Verdict::Kind::failed, refusal.error(options_.address)};
}

std::optional<Result<RedisReply>> RedisBackend::answer_of(RedisConnection& connection,
                                                          std::string& why) const {
  auto reply = connection.read();
  if (!reply) {
    why = reply.error().message;
    return std::nullopt;
  }
  if (!reply->is_error()) return reply;
  const Verdict verdict = refused(*reply);
  why = verdict.error.message;
  if (verdict.kind == Verdict::Kind::try_later) return std::nullopt;
  return verdict.error;
}

// ------------------------------------------------------------------------------------ writing

std::vector<Result<void>> RedisBackend::write(std::span<const Batch> batches) {
  const std::lock_guard lock(writer_mutex_);
  std::vector<std::optional<Result<void>>> answers(batches.size());
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const Batch& batch = batches[i];
    const std::uint64_t before =
        batch.last.epoch == batch.previous.epoch ? batch.previous.number : 0;
    if (batch.events.empty() || batch.last.number != before + batch.events.size()) {
      answers[i] = Error{ErrorKind::internal, "a batch of job '" + batch.job + "' is misnumbered"};
    } else {
      open.push_back(i);
    }
  }

  // An id that was free can be taken by bytes of a lost connection that arrive late, not often.
  constexpr int most_refusals = 3;
  std::vector<int> refusals(batches.size());
  Backoff backoff;
  bool degraded = false;
  while (!open.empty()) {
    std::optional<Error> obstacle;
    if (closed()) {
      for (const std::size_t i : open) answers[i] = closing_error();
      break;
    }
    if (!writer_) {
      verified_.clear();
      auto connection = RedisConnection::connect(options_.address, options_.timeouts);
      if (connection) {
        writer_ = std::move(*connection);
      } else {
        obstacle = connection.error();
      }
    }
    if (writer_) {
      std::vector<bool> appending;
      for (const std::size_t i : open) {
        appending.push_back(verified_.contains(batches[i].job));
        if (appending.back()) {
          send_append(*writer_, batches[i]);
        } else {
          send_look(*writer_, batches[i]);
        }
      }
      std::vector<std::size_t> still_open;
      for (std::size_t k = 0; k < open.size(); ++k) {
        const std::size_t i = open[k];
        const Batch& batch = batches[i];
        Verdict verdict =
            appending[k] ? receive_append(*writer_, batch) : receive_look(*writer_, batch);
        if (verdict.kind == Verdict::Kind::unknown && ++refusals[i] == most_refusals) {
          verdict = {Verdict::Kind::failed, damaged(batch.job, "its last entries were deleted")};
        }
        if (verdict.kind == Verdict::Kind::lost) {
          obstacle = verdict.error;
          writer_.reset();
          still_open.insert(still_open.end(), open.begin() + static_cast<std::ptrdiff_t>(k),
                            open.end());
          break;
        }
        // Any answer but success leaves the end of the log to be looked at.
        if (verdict.kind == Verdict::Kind::absent) verified_.insert(batch.job);
        if (verdict.kind != Verdict::Kind::absent &&
            !(verdict.kind == Verdict::Kind::done && appending[k])) {
          verified_.erase(batch.job);
        }
        if (verdict.kind == Verdict::Kind::done) {
          answers[i] = Result<void>();
        } else if (verdict.kind == Verdict::Kind::failed) {
          answers[i] = verdict.error;
        } else {
          still_open.push_back(i);
          if (verdict.kind == Verdict::Kind::try_later) obstacle = verdict.error;
        }
      }
      open = std::move(still_open);
    }
    if (obstacle) {
      degraded = true;
      set_health({false, obstacle->message + "; writes wait and are retried"});
      pause(backoff.next());
    }
  }
  if (degraded && !closed()) set_health({});

  std::vector<Result<void>> final_answers;
  final_answers.reserve(answers.size());
  for (auto& answer : answers) final_answers.push_back(std::move(*answer));
  return final_answers;
}

Result<EventId> RedisBackend::create(const std::string& job,
                                     const std::vector<std::string>& events) {
  if (closed()) return closing_error();
  if (auto fine = check_job_name(job); !fine) return fine.error();
  if (events.empty()) return Error{ErrorKind::internal, "a log cannot be created without events"};
  const Batch owner{job, {1, 0}, {1, 1}, {events.front()}};
  const Batch rest{job, {1, 1}, {1, events.size()}, {events.begin() + 1, events.end()}};
  const std::string key = log_key(job);
  bool owner_in_doubt = false;
  bool owner_written = false;

  return persist<EventId>(
      [&](RedisConnection& connection, std::string& why) -> std::optional<Result<EventId>> {
        if (!owner_written) {
          connection.append({"SADD", options_.prefix + "jobs", job});
          const auto listed = answer_of(connection, why);
          if (!listed) return std::nullopt;
          if (!*listed) return listed->error();
          connection.append({"XADD", key, "1-1", "e", events.front()});
          Verdict verdict = receive_append(connection, owner);
          if (verdict.kind == Verdict::Kind::unknown) {
            if (!owner_in_doubt) {
              return Error{ErrorKind::conflict, "job '" + job + "' already has a log"};
            }
            // An earlier attempt whose reply was lost may have succeeded.
            connection.append({"XRANGE", key, "1-1", "1-1"});
            auto stored = connection.read();
            if (!stored || stored->is_error()) {
              why = stored ? stored->text : stored.error().message;
              return std::nullopt;
            }
            const auto entry =
                stored->elements.empty() ? std::nullopt : parse_entry(stored->elements[0]);
            if (!entry || !holds(*entry, owner)) {
              return Error{ErrorKind::conflict, "job '" + job + "' already has a log"};
            }
            verdict.kind = Verdict::Kind::done;
          }
          why = verdict.error.message;
          if (verdict.kind == Verdict::Kind::failed) return verdict.error;
          if (verdict.kind != Verdict::Kind::done) {
            owner_in_doubt = owner_in_doubt || verdict.kind == Verdict::Kind::lost;
            return std::nullopt;
          }
          owner_written = true;
        }
        if (rest.events.empty()) return owner.last;
        send_look(connection, rest);
        Verdict verdict = receive_look(connection, rest);
        if (verdict.kind == Verdict::Kind::absent) {
          send_append(connection, rest);
          verdict = receive_append(connection, rest);
        }
        why = verdict.error.message;
        if (verdict.kind == Verdict::Kind::done) return rest.last;
        if (verdict.kind == Verdict::Kind::failed) return verdict.error;
        return std::nullopt;
      });
}

Result<EventId> RedisBackend::take_over(const std::string& job, const std::string& owner_event) {
  if (closed()) return closing_error();
  const std::string key = log_key(job);
  std::optional<EventId> in_doubt;
  return persist<EventId>(
      [&](RedisConnection& connection, std::string& why) -> std::optional<Result<EventId>> {
        if (in_doubt) connection.append({"XRANGE", key, in_doubt->text(), in_doubt->text()});
        connection.append({"XREVRANGE", key, "+", "-", "COUNT", "1"});
        RedisReply top;
        for (int left = in_doubt ? 2 : 1; left > 0; --left) {
          auto reply = answer_of(connection, why);
          if (!reply) return std::nullopt;
          if (!*reply) return reply->error();
          top = std::move(**reply);
          if (left == 2 && !top.elements.empty()) {
            const auto entry = parse_entry(top.elements[0]);
            if (entry && entry->size() == 1 && entry->event(0) == owner_event) return *in_doubt;
          }
        }
        if (top.elements.empty()) return no_log(job);
        const auto entry = parse_entry(top.elements[0]);
        if (!entry) return damaged(job, "its last entry is not one of paretod's");
        const EventId id{entry->last.epoch + 1, 1};
        connection.append({"XADD", key, "NOMKSTREAM", id.text(), "e", owner_event});
        const Verdict verdict = receive_append(connection, Batch{job, entry->last, id, {}});
        why = verdict.error.message;
        if (verdict.kind == Verdict::Kind::done) return id;
        if (verdict.kind == Verdict::Kind::failed) return verdict.error;
        // Refused as taken, it may still be ours: bytes of a lost connection can arrive late.
        in_doubt = id;
        return std::nullopt;
      });
}

// ------------------------------------------------------------------------------------ reading

Result<EventId> RedisBackend::read(const std::string& job, EventId after, const EventSink& sink) {
  constexpr std::size_t page_events = 1000;
  constexpr std::size_t page_bytes = 1024 * 1024;
  const std::string key = log_key(job);
  // Entries hold 1 to 256 events, so the number of entries per page is found by trying.
  std::size_t count = 8;
  EventId cursor = after;
  std::optional<EventId> top;

  while (true) {
    auto page = persist<RedisReply>(
        [&](RedisConnection& connection, std::string& why) -> std::optional<Result<RedisReply>> {
          if (top || cursor != EventId{}) {
            connection.append({"XRANGE", key, beyond(cursor), "+", "COUNT", std::to_string(count)});
          } else {
            connection.append({"XRANGE", key, "-", "+", "COUNT", std::to_string(count)});
          }
          return answer_of(connection, why);
        });
    if (!page) return page.error();

    std::size_t events = 0;
    std::size_t bytes = 0;
    for (const RedisReply& each : page->elements) {
      const auto entry = parse_entry(each);
      if (!entry) return damaged(job, "behind " + cursor.text() + " is an entry not of paretod's");
      EventId id{entry->last.epoch, entry->last.number - entry->size()};
      // Only the first entry may begin before the cursor, which may point into it.
      const bool joins = id.epoch == cursor.epoch && cursor != EventId{}
                             ? (top ? id.number == cursor.number : id.number <= cursor.number)
                             : id.number == 0 && id.epoch > cursor.epoch;
      if (!joins) {
        return damaged(
            job, "events are missing between " + cursor.text() + " and " + entry->last.text());
      }
      for (std::size_t i = 0; i < entry->size(); ++i) {
        ++id.number;
        bytes += entry->event(i).size();
        if (id > after && !sink(id, entry->event(i))) return entry->last;
      }
      events += entry->size();
      cursor = entry->last;
      top = cursor;
    }
    if (page->elements.size() < count) break;
    if (events < page_events / 2 && bytes < page_bytes / 2) {
      count *= 2;
    } else if (count > 1 && (events > page_events || bytes > page_bytes)) {
      count /= 2;
    }
  }
  if (top) return *top;

  return persist<EventId>(
      [&](RedisConnection& connection, std::string& why) -> std::optional<Result<EventId>> {
        auto reply = connection.command({"XREVRANGE", key, "+", "-", "COUNT", "1"});
        if (!reply || reply->is_error()) {
          why = reply ? reply->text : reply.error().message;
          return std::nullopt;
        }
        if (reply->elements.empty()) return no_log(job);
        const auto entry = parse_entry(reply->elements[0]);
        if (!entry) return damaged(job, "its last entry is not one of paretod's");
        return entry->last;
      });
}

Result<std::vector<std::string>> RedisBackend::jobs() {
  using Names = std::vector<std::string>;
  return persist<Names>(
      [&](RedisConnection& connection, std::string& why) -> std::optional<Result<Names>> {
        connection.append({"SMEMBERS", options_.prefix + "jobs"});
        const auto listed = answer_of(connection, why);
        if (!listed) return std::nullopt;
        if (!*listed) return listed->error();
        const std::vector<RedisReply>& found = (*listed)->elements;
        for (const RedisReply& name : found) {
          connection.append({"EXISTS", log_key(name.text)});
        }
        Names names;
        for (const RedisReply& name : found) {
          auto exists = connection.read();
          if (!exists || exists->is_error()) {
            why = exists ? exists->text : exists.error().message;
            return std::nullopt;
          }
          if (exists->integer == 1) names.push_back(name.text);
        }
        return names;
      });
}

// ------------------------------------------------------------------------ connections, health

template <class T>
Result<T> RedisBackend::persist(
    const std::function<std::optional<Result<T>>(RedisConnection&, std::string& why)>& attempt) {
  const auto deadline = Clock::now() + options_.patience;
  Backoff backoff;
  while (true) {
    std::string why;
    auto connection = lend();
    if (connection) {
      auto answer = attempt(*connection, why);
      if (connection->idle()) give_back(std::move(*connection));
      if (answer) return std::move(*answer);
    } else if (connection.error().kind == ErrorKind::unavailable) {
      why = connection.error().message;
    } else {
      return connection.error();
    }
    if (Clock::now() >= deadline) return Error{ErrorKind::unavailable, why};
    if (!pause(backoff.next())) return closing_error();
  }
}

Result<RedisConnection> RedisBackend::lend() {
  {
    const std::lock_guard lock(mutex_);
    if (!pool_.empty()) {
      RedisConnection connection = std::move(pool_.back());
      pool_.pop_back();
      return connection;
    }
  }
  return RedisConnection::connect(options_.address, options_.timeouts);
}

void RedisBackend::give_back(RedisConnection connection) {
  const std::lock_guard lock(mutex_);
  if (pool_.size() < 8) pool_.push_back(std::move(connection));
}

bool RedisBackend::pause(milliseconds delay) {
  std::unique_lock lock(mutex_);
  return !closing_.wait_for(lock, delay, [this] { return closed_; });
}

bool RedisBackend::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

Error RedisBackend::closing_error() const {
  const std::lock_guard lock(mutex_);
  return Error{ErrorKind::unavailable, health_.ok ? "the log store is closing"
                                                  : "the log store is closing; " + health_.reason};
}

void RedisBackend::set_health(Health health) {
  const std::lock_guard lock(mutex_);
  health_ = std::move(health);
}

Health RedisBackend::health() const {
  const std::lock_guard lock(mutex_);
  return health_;
}

void RedisBackend::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  closing_.notify_all();
}

}  // namespace paretod
