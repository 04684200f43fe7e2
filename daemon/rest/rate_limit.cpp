#include "daemon/rest/rate_limit.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace paretod {
namespace {

using Seconds = std::chrono::duration<double>;

}  // namespace

RateLimiter::RateLimiter(RateLimit limit) : limit_(limit) {
  const bool rate_ok = std::isfinite(limit.per_second) && limit.per_second >= 0;
  const bool burst_ok = std::isfinite(limit.burst) && limit.burst >= 1;
  if (!rate_ok || !burst_ok) {
    throw std::invalid_argument(
        "a rate limit needs a rate of at least 0 and a burst of at least 1");
  }
}

std::optional<RateLimiter::Clock::duration> RateLimiter::refuse(const std::string& client,
                                                                Clock::time_point now) {
  if (limit_.per_second == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  // Once in the time that an empty bucket takes to fill: each sweep finds what the one before
  // left, and its cost is shared by the requests in between.
  if (!swept_ || Seconds(now - *swept_).count() * limit_.per_second >= limit_.burst) {
    drop_full(now);
    swept_ = now;
  }
  auto found = buckets_.find(client);
  const bool room = found != buckets_.end() || buckets_.size() < limit_.clients;
  if (room && found == buckets_.end()) {
    found = buckets_.emplace(client, Bucket{limit_.burst, now}).first;
  }
  if (!room && !shared_) shared_ = Bucket{limit_.burst, now};
  Bucket& bucket = room ? found->second : *shared_;
  bucket = {level(bucket, now), std::max(bucket.at, now)};
  if (bucket.requests >= 1) {
    bucket.requests -= 1;
    return std::nullopt;
  }
  // A rate so low that the wait does not fit the clock's type is as good as a day.
  const double wait = std::min((1 - bucket.requests) / limit_.per_second, 86'400.0);
  return std::chrono::ceil<Clock::duration>(Seconds(wait));
}

double RateLimiter::level(const Bucket& bucket, Clock::time_point now) const {
  const double idle = std::max(Seconds(now - bucket.at).count(), 0.0);
  return std::min(bucket.requests + idle * limit_.per_second, limit_.burst);
}

void RateLimiter::drop_full(Clock::time_point now) {
  std::erase_if(buckets_,
                [&](const auto& entry) { return level(entry.second, now) >= limit_.burst; });
}

std::size_t RateLimiter::clients() const {
  const std::lock_guard lock(mutex_);
  return buckets_.size();
}

}  // namespace paretod
