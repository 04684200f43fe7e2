#pragma once
// What an HTTP exchange looks like to the rest of the daemon: requests, responses and streams of
// server-sent events, free of any network library.  Requests and responses are plain values.  An
// EventStream is shared by one producer side (any threads) and the server's session, which owns
// the connection.  Sources: RFC 9110, RFC 3986 section 2.1, RFC 9457, WHATWG HTML section 9.2.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace paretod {

using NameValues = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string path;    ///< as sent, without the query and still percent-encoded
  NameValues query;    ///< decoded, in the order sent
  NameValues headers;  ///< lower-case names; trailers of a chunked body never appear here
  std::string body;    ///< empty while only the head has been read
  std::string peer;    ///< numeric address of the client

  /// First field of that name (lower case).
  [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
  /// First query parameter of that name.
  [[nodiscard]] std::optional<std::string> query_value(std::string_view name) const;
};

class EventStream;
class DeferredResponse;

struct HttpResponse {
  int status = 200;
  std::string content_type;
  std::string body;
  NameValues headers;
  /// If set, `body` is ignored and the response is an event stream that lasts until it ends.
  std::shared_ptr<EventStream> stream;
  /// If set, everything else is ignored: the response comes later.
  std::shared_ptr<DeferredResponse> deferred;
};

/// A response that is not known yet.  Shared by whoever makes it and the server's session.
class DeferredResponse {
 public:
  /// Once; any thread.
  void set(HttpResponse response);

  // Server side, one session.

  /// `wake` is called, under the lock, when the response is there; at once if it is.  It must only
  /// post.  After detach() it is never called again.
  void attach(std::function<void()> wake);
  void detach();
  /// Nothing while it is not there.
  [[nodiscard]] std::optional<HttpResponse> take();

 private:
  std::mutex mutex_;
  std::optional<HttpResponse> response_;
  std::function<void()> wake_;
};

/// Problem details (RFC 9457): `type` is a stable reference such as "/problems/not-found".
[[nodiscard]] HttpResponse problem_response(int status, std::string_view type,
                                            std::string_view title, std::string_view detail);

/// Nothing if a percent sign is not followed by two hex digits or the result holds a control
/// character.  `plus_is_space` follows the form encoding of queries.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

/// Fills path and query from a request target in origin form ("/a/b?x=1"); false if malformed.
[[nodiscard]] bool parse_target(std::string_view target, HttpRequest& request);

/// One frame of an event stream; empty id or event are left out, newlines in data are kept.
[[nodiscard]] std::string format_event(std::string_view id, std::string_view event,
                                       std::string_view data);

/// The bounded queue between a producer of events and one client.
///
/// It ends exactly once: by close(), by the client going away, or by lagging more than
/// `lag_limit` bytes behind.  A lagging client gets one `reset` event in place of what it missed,
/// then the connection closes; it comes back with Last-Event-ID.  Callbacks run without the
/// queue's lock and may call any method of the producer side.
class EventStream {
 public:
  using Frame = std::shared_ptr<const std::string>;

  explicit EventStream(std::size_t lag_limit = 256 * 1024);

  // Producer side, any thread.

  /// Queues a formatted frame, shared so that one frame serves every client.  False once the
  /// stream has ended; the frame is then dropped.  A single frame above the limit is accepted if
  /// nothing else waits.
  bool push(Frame frame);
  /// What is queued is still sent, then the connection closes.
  void close();
  [[nodiscard]] bool ended() const;
  /// Bytes that the client has not taken yet.
  [[nodiscard]] std::size_t lag() const;
  /// Called once when the stream ends, on the thread that ends it; at once if it has ended.
  void on_end(std::function<void()> callback);
  /// Called on a server thread when the client has taken everything, the first time before any
  /// frame: the place to push the next page of a long history without lagging.
  void on_drained(std::function<void()> callback);

  // Server side, one session.

  /// `wake` is called, under the queue's lock, when there is something to do after an empty
  /// take(); it must only post.  After detach() it is never called again.
  void attach(std::function<void()> wake);
  void detach();
  /// Up to about `bytes` of frames, at least one if any waits.  They count as lag until written().
  [[nodiscard]] std::vector<Frame> take(std::size_t bytes);
  void written();
  /// Nothing left to send and nothing will come.
  [[nodiscard]] bool finished() const;
  void client_gone();
  [[nodiscard]] bool overflowed() const;

 private:
  void end(std::unique_lock<std::mutex>& lock);
  void wake();

  const std::size_t lag_limit_;
  mutable std::mutex mutex_;
  std::deque<Frame> queue_;
  std::size_t queued_bytes_ = 0;
  std::size_t in_flight_bytes_ = 0;
  bool ended_ = false;
  bool overflowed_ = false;
  bool waiting_ = false;      ///< the session found nothing and sleeps until wake
  bool ask_for_more_ = true;  ///< on_drained is due at the next empty take()
  std::function<void()> wake_;
  std::function<void()> on_end_;
  std::function<void()> on_drained_;
};

}  // namespace paretod
