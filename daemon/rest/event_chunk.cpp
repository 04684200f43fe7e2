#include "daemon/rest/event_chunk.hpp"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <variant>

#include "daemon/rest/json_text.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {

EventStream::Frame Chunk::rest(EventId after) const {
  const auto next =
      std::upper_bound(starts.begin(), starts.end(), after,
                       [](EventId id, const auto& start) { return id < start.first; });
  if (next == starts.begin()) return text;
  if (next == starts.end()) return nullptr;
  return std::make_shared<const std::string>(text->substr(next->second));
}

void ChunkBuilder::add(EventId id, const Event& event, const JobSpec& spec) {
  starts_.emplace_back(id, text_.size());
  std::string data = to_text(event_view(event, spec));
  data.pop_back();
  text_ += format_event(id.text(), name_of(event.body), data);
  finished_ = finished_ || std::holds_alternative<FinishedEvent>(event.body);
}

Chunk ChunkBuilder::take() {
  Chunk chunk{std::make_shared<const std::string>(std::move(text_)), std::move(starts_), finished_};
  *this = ChunkBuilder();
  return chunk;
}

}  // namespace paretod
