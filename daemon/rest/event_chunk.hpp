#pragma once
// Server-sent events as text: frames of consecutive events joined into chunks that many clients
// share.  Plain values; a finished Chunk is immutable.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "daemon/jobs/event.hpp"
#include "daemon/rest/http_message.hpp"

namespace paretod {

struct Chunk {
  EventStream::Frame text;
  std::vector<std::pair<EventId, std::size_t>> starts;  ///< where each event's frame begins
  bool finished = false;                                ///< the last one ends the stream

  [[nodiscard]] EventId last() const { return starts.back().first; }
  /// The part that follows `after`; null if there is none.
  [[nodiscard]] EventStream::Frame rest(EventId after) const;
};

class ChunkBuilder {
 public:
  /// Events come in the order of their ids.
  void add(EventId id, const Event& event, const JobSpec& spec);
  [[nodiscard]] std::size_t bytes() const { return text_.size(); }
  [[nodiscard]] bool empty() const { return starts_.empty(); }
  /// What was added since the last call.
  Chunk take();

 private:
  std::string text_;
  std::vector<std::pair<EventId, std::size_t>> starts_;
  bool finished_ = false;
};

}  // namespace paretod
