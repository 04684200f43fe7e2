#include "daemon/rest/event_feed.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/rest/event_chunk.hpp"
#include "daemon/rest/snapshot.hpp"

namespace paretod {
namespace {

/// Text that the live thread gives to clients at once.
constexpr std::size_t chunk_bytes = 64 * 1024;
/// A read of the log goes on to its end whatever is wanted of it, so one fills many pages.
constexpr std::size_t pages_per_read = 16;
constexpr std::size_t kept_pages = 48;

struct Channel;

/// One client.  Fed by the live thread while `live`, else by the catch-up thread; `sent` belongs
/// to the one that feeds.  The flags are guarded by Core::mutex.
struct Subscriber {
  std::shared_ptr<EventStream> stream;
  std::shared_ptr<Channel> channel;
  EventId sent;
  bool live = false;
  bool queued = false;  ///< for the catch-up thread
};
using SubscriberPtr = std::shared_ptr<Subscriber>;

/// A full page of the log that several clients are likely to ask for.
struct Page {
  EventId after;
  Chunk chunk;
};

struct Channel {
  std::shared_ptr<Job> job;
  const JobSpec* spec = nullptr;
  std::uint64_t token = 0;

  // Guarded by Core::mutex.
  std::vector<SubscriberPtr> subscribers;
  EventId live_top;  ///< the live thread has passed on everything up to here

  // Guarded by Core::inbox_mutex.
  std::vector<std::pair<EventId, Event>> inbox;
  bool due = false;      ///< the live thread has been told
  bool dropped = false;  ///< the inbox is not complete

  // The catch-up thread's.
  std::deque<Page> pages;
};
using ChannelPtr = std::shared_ptr<Channel>;

}  // namespace

struct EventFeed::Core : std::enable_shared_from_this<Core> {
  Core(LogBackend& log_backend, EventFeedOptions feed_options)
      : log(log_backend), options(feed_options) {}

  LogBackend& log;
  const EventFeedOptions options;

  // Lock order: mutex, a job's lock, inbox_mutex.  Streams are pushed to and closed without locks,
  // because their callbacks take `mutex`.
  mutable std::mutex mutex;
  std::condition_variable catch_up_wake;
  std::map<std::string, ChannelPtr> channels;
  std::deque<SubscriberPtr> behind;
  bool stopping = false;

  std::mutex inbox_mutex;
  std::condition_variable inbox_wake;
  std::vector<ChannelPtr> due;
  bool inbox_stopping = false;

  std::thread live_thread;
  std::thread catch_up_thread;

  void receive(const ChannelPtr& channel, EventId id, const Event& event);
  ChannelPtr channel_of(const std::shared_ptr<Job>& job);
  void remove(const SubscriberPtr& subscriber);
  void queue_if_behind(const SubscriberPtr& subscriber);

  void run_live();
  void pass_on(const ChannelPtr& channel, std::vector<std::pair<EventId, Event>> events,
               bool dropped);
  void feed_live(const SubscriberPtr& subscriber, const std::vector<Chunk>& chunks);

  void run_catch_up();
  void feed_from_log(const SubscriberPtr& subscriber);
  struct Read {
    std::optional<Chunk> chunk;  ///< empty at the end of the log
    bool full = false;           ///< there may be more
  };
  Result<Read> read_page(Channel& channel, EventId after);
};

// ---- the writer thread -------------------------------------------------------------------------

void EventFeed::Core::receive(const ChannelPtr& channel, EventId id, const Event& event) {
  bool wake = false;
  {
    const std::lock_guard lock(inbox_mutex);
    if (channel->inbox.size() >= options.inbox_events) {
      channel->inbox.clear();
      channel->dropped = true;
    }
    channel->inbox.emplace_back(id, event);
    if (!channel->due) {
      channel->due = true;
      due.push_back(channel);
      wake = due.size() == 1;
    }
  }
  if (wake) inbox_wake.notify_one();
}

// ---- the live thread ---------------------------------------------------------------------------

void EventFeed::Core::run_live() {
  std::unique_lock lock(inbox_mutex);
  while (true) {
    inbox_wake.wait(lock, [this] { return !due.empty() || inbox_stopping; });
    if (inbox_stopping) return;
    for (const ChannelPtr& channel : std::exchange(due, {})) {
      channel->due = false;
      auto events = std::exchange(channel->inbox, {});
      const bool dropped = std::exchange(channel->dropped, false);
      lock.unlock();
      pass_on(channel, std::move(events), dropped);
      lock.lock();
    }
    // What comes meanwhile shares the next round's formatting and writes.
    inbox_wake.wait_for(lock, options.gather, [this] { return inbox_stopping; });
  }
}

void EventFeed::Core::pass_on(const ChannelPtr& channel,
                              std::vector<std::pair<EventId, Event>> events, bool dropped) {
  std::vector<SubscriberPtr> targets;
  {
    const std::lock_guard lock(mutex);
    channel->live_top = std::max(channel->live_top, events.back().first);
    for (const SubscriberPtr& subscriber : channel->subscribers) {
      if (!subscriber->live) continue;
      if (dropped) {
        subscriber->live = false;
        queue_if_behind(subscriber);
      } else {
        targets.push_back(subscriber);
      }
    }
  }
  if (targets.empty()) return;
  std::vector<Chunk> chunks;
  ChunkBuilder builder;
  for (const auto& [id, event] : events) {
    builder.add(id, event, *channel->spec);
    if (builder.bytes() >= chunk_bytes) chunks.push_back(builder.take());
  }
  if (!builder.empty()) chunks.push_back(builder.take());
  for (const SubscriberPtr& subscriber : targets) feed_live(subscriber, chunks);
}

void EventFeed::Core::feed_live(const SubscriberPtr& subscriber, const std::vector<Chunk>& chunks) {
  for (const Chunk& chunk : chunks) {
    const EventStream::Frame frame = chunk.rest(subscriber->sent);
    if (!frame) continue;
    const std::size_t lag = subscriber->stream->lag();
    if (lag > 0 && lag + frame->size() > options.lag_bytes) {
      const std::lock_guard lock(mutex);
      subscriber->live = false;
      queue_if_behind(subscriber);
      return;
    }
    if (!subscriber->stream->push(frame)) return;
    subscriber->sent = chunk.last();
    if (chunk.finished) subscriber->stream->close();
  }
}

// ---- the catch-up thread -----------------------------------------------------------------------

void EventFeed::Core::run_catch_up() {
  std::unique_lock lock(mutex);
  while (true) {
    catch_up_wake.wait(lock, [this] { return !behind.empty() || stopping; });
    if (stopping) return;
    const SubscriberPtr subscriber = std::move(behind.front());
    behind.pop_front();
    subscriber->queued = false;
    // Queued when it had taken a page, after which it turned out to be the last.
    if (subscriber->live) continue;
    lock.unlock();
    feed_from_log(subscriber);
    lock.lock();
  }
}

void EventFeed::Core::feed_from_log(const SubscriberPtr& subscriber) {
  EventStream& stream = *subscriber->stream;
  // It comes back here when it has taken what it was given.
  if (stream.ended() || stream.lag() > 0) return;
  Result<Read> page = read_page(*subscriber->channel, subscriber->sent);
  if (!page) {
    stream.close();
    return;
  }
  if (page->chunk) {
    if (!stream.push(page->chunk->text)) return;
    subscriber->sent = page->chunk->last();
    if (page->chunk->finished) {
      stream.close();
      return;
    }
    if (page->full) return;
  }
  {
    const std::lock_guard lock(mutex);
    if (subscriber->sent >= subscriber->channel->live_top) {
      subscriber->live = true;
      return;
    }
    if (page->chunk) {
      queue_if_behind(subscriber);
      return;
    }
  }
  // The log lacks what was committed: not for this client to wait for.
  stream.close();
}

Result<EventFeed::Core::Read> EventFeed::Core::read_page(Channel& channel, EventId after) {
  for (const Page& page : channel.pages) {
    if (page.after == after) return Read{page.chunk, true};
  }
  std::vector<std::pair<EventId, std::string>> events;
  std::size_t bytes = 0;
  const auto top = log.read(channel.job->id(), after, [&](EventId id, std::string_view text) {
    if (bytes >= pages_per_read * options.page_bytes) return false;
    bytes += text.size();
    events.emplace_back(id, text);
    return true;
  });
  if (!top) return top.error();

  Read first;
  ChunkBuilder builder;
  bytes = 0;
  for (const auto& [id, text] : events) {
    const auto event = decode(text);
    if (!event) return event.error();
    builder.add(id, *event, *channel.spec);
    bytes += text.size();
    if (bytes < options.page_bytes) continue;
    const Chunk chunk = builder.take();
    if (!first.chunk) first = {chunk, true};
    channel.pages.push_back({after, chunk});
    if (channel.pages.size() > kept_pages) channel.pages.pop_front();
    after = id;
    bytes = 0;
  }
  if (!first.chunk && !builder.empty()) first.chunk = builder.take();
  return first;
}

// ---- any thread --------------------------------------------------------------------------------

/// Needs the mutex.
void EventFeed::Core::queue_if_behind(const SubscriberPtr& subscriber) {
  if (subscriber->live || subscriber->queued || stopping) return;
  subscriber->queued = true;
  behind.push_back(subscriber);
  catch_up_wake.notify_one();
}

/// The job's channel, made if there is none.  Needs the mutex.
ChannelPtr EventFeed::Core::channel_of(const std::shared_ptr<Job>& job) {
  ChannelPtr& channel = channels[job->id()];
  if (channel) return channel;
  channel = std::make_shared<Channel>();
  channel->job = job;
  channel->spec = &spec_of(*job);
  channel->token = job->follow(
      [weak = weak_from_this(), target = std::weak_ptr(channel)](EventId id, const Event& event) {
        const auto core = weak.lock();
        const auto to = target.lock();
        if (core && to) core->receive(to, id, event);
      });
  // Everything later goes through the inbox.
  channel->live_top = job->with_state([](JobState& state) { return state.top(); });
  return channel;
}

void EventFeed::Core::remove(const SubscriberPtr& subscriber) {
  const ChannelPtr channel = subscriber->channel;
  {
    const std::lock_guard lock(mutex);
    std::erase(channel->subscribers, subscriber);
    if (!channel->subscribers.empty()) return;
    const auto found = channels.find(channel->job->id());
    if (found == channels.end() || found->second != channel) return;
    channels.erase(found);
  }
  channel->job->unfollow(channel->token);
}

EventFeed::EventFeed(LogBackend& log, EventFeedOptions options)
    : core_(std::make_shared<Core>(log, options)) {
  core_->live_thread = std::thread([core = core_.get()] { core->run_live(); });
  core_->catch_up_thread = std::thread([core = core_.get()] { core->run_catch_up(); });
}

EventFeed::~EventFeed() {
  std::vector<SubscriberPtr> subscribers;
  {
    const std::lock_guard lock(core_->mutex);
    core_->stopping = true;
    for (const auto& [id, channel] : core_->channels) {
      subscribers.insert(subscribers.end(), channel->subscribers.begin(),
                         channel->subscribers.end());
    }
    core_->behind.clear();
  }
  {
    const std::lock_guard lock(core_->inbox_mutex);
    core_->inbox_stopping = true;
  }
  core_->catch_up_wake.notify_all();
  core_->inbox_wake.notify_all();
  core_->live_thread.join();
  core_->catch_up_thread.join();
  for (const SubscriberPtr& subscriber : subscribers) subscriber->stream->close();
}

std::shared_ptr<EventStream> EventFeed::open(const std::shared_ptr<Job>& job,
                                             std::optional<EventId> after) {
  const auto [top, end] =
      job->with_state([](JobState& state) { return std::pair(state.top(), state.finished_at()); });
  const bool final = end != EventId{};
  if (final && after && *after >= end && *after <= top) return nullptr;
  const auto subscriber = std::make_shared<Subscriber>();
  subscriber->stream = std::make_shared<EventStream>();
  EventStream& stream = *subscriber->stream;
  subscriber->sent = after.value_or(top);
  // The stream ends with the search; injected trials may have followed.
  if (!after && final) subscriber->sent = {end.epoch, end.number - 1};
  if (after && *after > top) {
    subscriber->sent = top;
    stream.push(std::make_shared<const std::string>(
        format_event(top.text(), "reset", "{\"reason\":\"unknown id\"}")));
    if (final) {
      stream.close();
      return subscriber->stream;
    }
  }
  {
    const std::lock_guard lock(core_->mutex);
    if (core_->stopping) {
      stream.close();
      return subscriber->stream;
    }
    subscriber->channel = core_->channel_of(job);
    subscriber->channel->subscribers.push_back(subscriber);
    subscriber->live = subscriber->sent >= subscriber->channel->live_top;
    core_->queue_if_behind(subscriber);
  }
  // Either is called at once if it is due already.
  stream.on_end([weak = std::weak_ptr(core_), subscriber] {
    if (const auto core = weak.lock()) core->remove(subscriber);
  });
  stream.on_drained([weak = std::weak_ptr(core_), target = std::weak_ptr(subscriber)] {
    const auto core = weak.lock();
    const auto to = target.lock();
    if (!core || !to) return;
    const std::lock_guard lock(core->mutex);
    core->queue_if_behind(to);
  });
  return subscriber->stream;
}

std::size_t EventFeed::clients() const {
  const std::lock_guard lock(core_->mutex);
  std::size_t count = 0;
  for (const auto& [id, channel] : core_->channels) count += channel->subscribers.size();
  return count;
}

}  // namespace paretod
