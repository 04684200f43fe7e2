#include "daemon/store/group_commit.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace paretod {

/// One open log.  Guarded by Core::mutex, except `listener` and `top`, which only the writer uses.
struct GroupCommit::Entry {
  std::string job;
  EventId top;
  CommitListener listener;

  std::vector<std::string> queue;  ///< events [head, end) wait to be taken
  std::size_t head = 0;
  std::size_t bytes = 0;   ///< of the waiting events
  std::size_t urgent = 0;  ///< leading waiting events that must not wait for more
  std::size_t in_flight = 0;
  bool busy = false;   ///< a batch is being written, or its listener runs
  bool ready = false;  ///< is in Core::ready
  bool lost = false;

  [[nodiscard]] std::size_t waiting() const { return queue.size() - head; }
};

struct GroupCommit::Core {
  explicit Core(LogBackend& log_backend) : backend(log_backend) {}

  void append(const std::shared_ptr<Entry>& entry, std::string&& event, bool lazy);
  /// Lets go everything that waits.  Needs the mutex.
  void flush(const std::shared_ptr<Entry>& entry);
  void make_ready(const std::shared_ptr<Entry>& entry);
  void run();
  /// Moves the next batch of `entry` into `batch`.  Needs the mutex.
  static void take(Entry& entry, Batch& batch);
  void settle(const std::shared_ptr<Entry>& entry, const Batch& batch, const Result<void>& answer);

  LogBackend& backend;
  std::mutex mutex;
  std::condition_variable work;
  std::vector<std::shared_ptr<Entry>> ready;
  std::vector<std::weak_ptr<Entry>> entries;  ///< all that are open, to be flushed at the end
  bool sleeping = false;
  bool stopping = false;
  std::thread writer;
};

void GroupCommit::Core::append(const std::shared_ptr<Entry>& entry, std::string&& event,
                               bool lazy) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex);
    if (entry->lost || stopping) return;
    entry->bytes += event.size();
    entry->queue.push_back(std::move(event));
    const bool full = entry->bytes >= max_batch_bytes || entry->waiting() >= max_batch_events;
    if (lazy && !full) return;
    entry->urgent = entry->waiting();
    make_ready(entry);
    wake = std::exchange(sleeping, false);
  }
  if (wake) work.notify_one();
}

void GroupCommit::Core::make_ready(const std::shared_ptr<Entry>& entry) {
  if (entry->ready || entry->busy || entry->urgent == 0) return;
  entry->ready = true;
  ready.push_back(entry);
}

void GroupCommit::Core::flush(const std::shared_ptr<Entry>& entry) {
  entry->urgent = entry->waiting();
  make_ready(entry);
}

void GroupCommit::Core::take(Entry& entry, Batch& batch) {
  const std::size_t waiting = entry.waiting();
  std::size_t count = 0;
  if (entry.head == 0 && waiting <= max_batch_events && entry.bytes <= max_batch_bytes) {
    count = waiting;
    batch.events.swap(entry.queue);
    entry.bytes = 0;
  } else {
    std::size_t bytes = 0;
    while (count < waiting && count < max_batch_events) {
      std::string& event = entry.queue[entry.head + count];
      if (count > 0 && bytes + event.size() > max_batch_bytes) break;
      bytes += event.size();
      batch.events.push_back(std::move(event));
      ++count;
    }
    entry.head += count;
    entry.bytes -= bytes;
    // Shifting only a queue that is mostly consumed keeps the cost per event constant.
    if (entry.head * 2 >= entry.queue.size()) {
      entry.queue.erase(entry.queue.begin(),
                        entry.queue.begin() + static_cast<std::ptrdiff_t>(entry.head));
      entry.head = 0;
    }
  }
  entry.urgent -= std::min(entry.urgent, count);
  entry.in_flight = count;
  entry.busy = true;
  entry.ready = false;
  batch.job = entry.job;
  batch.previous = entry.top;
  batch.last = {entry.top.epoch, entry.top.number + count};
}

void GroupCommit::Core::settle(const std::shared_ptr<Entry>& entry, const Batch& batch,
                               const Result<void>& answer) {
  std::size_t events = batch.events.size();
  if (answer.ok()) {
    entry->top = batch.last;
    {
      const std::lock_guard lock(mutex);
      entry->in_flight = 0;
    }
    entry->listener(batch.last, events);
    const std::lock_guard lock(mutex);
    entry->busy = false;
    make_ready(entry);
    return;
  }
  {
    const std::lock_guard lock(mutex);
    entry->lost = true;
    entry->in_flight = 0;
    events += entry->waiting();
    entry->queue = {};
    entry->head = entry->bytes = entry->urgent = 0;
  }
  entry->listener(answer.error(), events);
}

void GroupCommit::Core::run() {
  std::vector<std::shared_ptr<Entry>> taken;
  std::vector<Batch> batches;
  std::unique_lock lock(mutex);
  while (true) {
    while (ready.empty() && !stopping) {
      sleeping = true;
      work.wait(lock);
    }
    sleeping = false;
    if (ready.empty()) return;

    taken.swap(ready);
    batches.resize(taken.size());
    for (std::size_t i = 0; i < taken.size(); ++i) take(*taken[i], batches[i]);
    lock.unlock();

    const std::vector<Result<void>> answers = backend.write(batches);
    for (std::size_t i = 0; i < taken.size(); ++i) settle(taken[i], batches[i], answers[i]);
    // Keeps the vectors' memory for the next round, which swaps them with the queues.
    for (Batch& batch : batches) batch.events.clear();
    // May run the destructors of listeners, hence before the lock.
    taken.clear();
    lock.lock();
  }
}

GroupCommit::GroupCommit(LogBackend& backend) : core_(std::make_shared<Core>(backend)) {
  core_->writer = std::thread([core = core_.get()] { core->run(); });
}

GroupCommit::~GroupCommit() {
  // Released after the lock: the last reference runs the destructor of a listener.
  std::vector<std::shared_ptr<Entry>> open;
  {
    const std::lock_guard lock(core_->mutex);
    core_->stopping = true;
    for (const std::weak_ptr<Entry>& weak : core_->entries) {
      if (auto entry = weak.lock()) open.push_back(std::move(entry));
    }
    for (const std::shared_ptr<Entry>& entry : open) core_->flush(entry);
  }
  core_->work.notify_one();
  core_->writer.join();
}

std::shared_ptr<GroupCommit::Log> GroupCommit::open(std::string job, EventId top,
                                                    CommitListener listener) {
  auto entry = std::make_shared<Entry>();
  entry->job = std::move(job);
  entry->top = top;
  entry->listener = std::move(listener);
  {
    const std::lock_guard lock(core_->mutex);
    std::erase_if(core_->entries, [](const auto& weak) { return weak.expired(); });
    core_->entries.push_back(entry);
  }
  return std::shared_ptr<Log>(new Log(core_, std::move(entry)));
}

GroupCommit::Log::Log(std::shared_ptr<Core> core, std::shared_ptr<Entry> entry)
    : core_(std::move(core)), entry_(std::move(entry)) {}

GroupCommit::Log::~Log() {
  bool wake = false;
  {
    const std::lock_guard lock(core_->mutex);
    if (!core_->stopping && !entry_->lost && entry_->waiting() > 0) {
      core_->flush(entry_);
      wake = std::exchange(core_->sleeping, false);
    }
  }
  if (wake) core_->work.notify_one();
}

void GroupCommit::Log::flush() {
  {
    const std::lock_guard lock(core_->mutex);
    if (entry_->lost || core_->stopping) return;
    core_->flush(entry_);
    if (!std::exchange(core_->sleeping, false)) return;
  }
  core_->work.notify_one();
}

void GroupCommit::Log::append(std::string event) {
  core_->append(entry_, std::move(event), false);
}

void GroupCommit::Log::append_lazily(std::string event) {
  core_->append(entry_, std::move(event), true);
}

std::size_t GroupCommit::Log::backlog() const {
  const std::lock_guard lock(core_->mutex);
  return entry_->waiting() + entry_->in_flight;
}

}  // namespace paretod
