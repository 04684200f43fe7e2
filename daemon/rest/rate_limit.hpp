#pragma once
// How many requests each client may send: a token bucket per client.  A bucket holds up to `burst`
// requests and gains `per_second` of them; each request takes one, and an empty bucket refuses.
// Thread-safe.  Time is given by the caller, so that tests need no clock.
//
// Memory is bounded.  A bucket that has filled up again says nothing that a new one would not, so
// it is dropped: what remains are the clients of the last burst/per_second seconds.  When those
// are more than `clients`, the rest share one bucket.

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace paretod {

struct RateLimit {
  double per_second = 50;      ///< 0: no limit
  double burst = 100;          ///< at least 1
  std::size_t clients = 4096;  ///< with a bucket of their own
};

class RateLimiter {
 public:
  using Clock = std::chrono::steady_clock;

  /// Throws std::invalid_argument for a limit that is negative or could let no request pass.
  explicit RateLimiter(RateLimit limit = {});

  /// Counts a request of `client` at `now`.  Nothing if it may pass; otherwise how long until the
  /// client's next one may, and the request is not counted.  Calls may come slightly out of order.
  [[nodiscard]] std::optional<Clock::duration> refuse(const std::string& client,
                                                      Clock::time_point now);

  /// Buckets kept at present.
  [[nodiscard]] std::size_t clients() const;

 private:
  struct Bucket {
    double requests;  ///< it held at `at`
    Clock::time_point at;
  };

  double level(const Bucket& bucket, Clock::time_point now) const;
  void drop_full(Clock::time_point now);

  const RateLimit limit_;
  mutable std::mutex mutex_;
  std::map<std::string, Bucket> buckets_;
  std::optional<Bucket> shared_;  ///< of the clients there is no room for
  std::optional<Clock::time_point> swept_;
};

}  // namespace paretod
