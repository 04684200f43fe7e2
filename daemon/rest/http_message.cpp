#include "daemon/rest/http_message.hpp"

#include <algorithm>
#include <utility>

namespace paretod {
namespace {

std::optional<std::string> find_first(const NameValues& fields, std::string_view name) {
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [name](const auto& field) { return field.first == name; });
  if (found == fields.end()) return std::nullopt;
  return found->second;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      // Bytes outside ASCII may come from a request and need not be UTF-8.
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

std::optional<std::string> HttpRequest::header(std::string_view name) const {
  return find_first(headers, name);
}

std::optional<std::string> HttpRequest::query_value(std::string_view name) const {
  return find_first(query, name);
}

HttpResponse problem_response(int status, std::string_view type, std::string_view title,
                              std::string_view detail) {
  HttpResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  response.body = "{\"type\":";
  append_json_string(response.body, type);
  response.body += ",\"title\":";
  append_json_string(response.body, title);
  response.body += ",\"status\":" + std::to_string(status) + ",\"detail\":";
  append_json_string(response.body, detail);
  response.body += "}\n";
  return response;
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (is_control(c)) return std::nullopt;
    out += c;
  }
  return out;
}

bool parse_target(std::string_view target, HttpRequest& request) {
  const bool origin_form = !target.empty() && target.front() == '/';
  const bool visible = std::all_of(target.begin(), target.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte < 0x7f && c != '#';
  });
  if (!origin_form || !visible) return false;
  const std::size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  request.query.clear();
  if (!percent_decode(request.path, false)) return false;
  if (mark == std::string_view::npos) return true;
  std::string_view rest = target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto name = percent_decode(pair.substr(0, equals), true);
    auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())), true);
    if (!name || !value) return false;
    request.query.emplace_back(std::move(*name), std::move(*value));
  }
  return true;
}

std::string format_event(std::string_view id, std::string_view event, std::string_view data) {
  std::string frame;
  frame.reserve(id.size() + event.size() + data.size() + 24);
  if (!id.empty()) frame.append("id: ").append(id).append("\n");
  if (!event.empty()) frame.append("event: ").append(event).append("\n");
  for (;;) {
    const std::size_t end = data.find('\n');
    frame.append("data: ").append(data.substr(0, end)).append("\n");
    if (end == std::string_view::npos) break;
    data.remove_prefix(end + 1);
  }
  frame += '\n';
  return frame;
}

void DeferredResponse::set(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  response_ = std::move(response);
  if (wake_) wake_();
}

void DeferredResponse::attach(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
  if (response_) wake_();
}

void DeferredResponse::detach() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
}

std::optional<HttpResponse> DeferredResponse::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(response_, std::nullopt);
}

EventStream::EventStream(std::size_t lag_limit) : lag_limit_(lag_limit) {}

bool EventStream::push(Frame frame) {
  std::unique_lock lock(mutex_);
  if (ended_) return false;
  const std::size_t lag = queued_bytes_ + in_flight_bytes_;
  if (lag > 0 && lag + frame->size() > lag_limit_) {
    overflowed_ = true;
    queue_.clear();
    queue_.push_back(std::make_shared<const std::string>(format_event(
        "", "reset",
        "{\"reason\":\"lagging\",\"limit_bytes\":" + std::to_string(lag_limit_) + "}")));
    queued_bytes_ = queue_.front()->size();
    end(lock);
    return false;
  }
  queued_bytes_ += frame->size();
  queue_.push_back(std::move(frame));
  ask_for_more_ = true;
  wake();
  return true;
}

void EventStream::close() {
  std::unique_lock lock(mutex_);
  if (!ended_) end(lock);
}

bool EventStream::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

std::size_t EventStream::lag() const {
  const std::lock_guard lock(mutex_);
  return queued_bytes_ + in_flight_bytes_;
}

void EventStream::on_end(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) {
      on_end_ = std::move(callback);
      return;
    }
  }
  callback();
}

void EventStream::on_drained(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  on_drained_ = std::move(callback);
  ask_for_more_ = true;
  wake();
}

void EventStream::attach(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

void EventStream::detach() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
}

std::vector<EventStream::Frame> EventStream::take(std::size_t bytes) {
  std::unique_lock lock(mutex_);
  if (queue_.empty() && ask_for_more_ && on_drained_) {
    ask_for_more_ = false;
    const std::function<void()> callback = on_drained_;
    lock.unlock();
    callback();
    lock.lock();
  }
  std::vector<Frame> batch;
  std::size_t taken = 0;
  while (!queue_.empty() && (batch.empty() || taken + queue_.front()->size() <= bytes)) {
    taken += queue_.front()->size();
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queued_bytes_ -= taken;
  in_flight_bytes_ += taken;
  waiting_ = batch.empty();
  return batch;
}

void EventStream::written() {
  const std::lock_guard lock(mutex_);
  in_flight_bytes_ = 0;
}

bool EventStream::finished() const {
  const std::lock_guard lock(mutex_);
  return ended_ && queue_.empty();
}

void EventStream::client_gone() {
  std::unique_lock lock(mutex_);
  queue_.clear();
  queued_bytes_ = 0;
  if (!ended_) end(lock);
}

bool EventStream::overflowed() const {
  const std::lock_guard lock(mutex_);
  return overflowed_;
}

// Callbacks often hold the stream itself, so both are released here, outside the lock.
void EventStream::end(std::unique_lock<std::mutex>& lock) {
  ended_ = true;
  wake();
  const std::function<void()> callback = std::exchange(on_end_, nullptr);
  const std::function<void()> drained = std::exchange(on_drained_, nullptr);
  lock.unlock();
  if (callback) callback();
}

void EventStream::wake() {
  if (waiting_ && wake_) wake_();
  waiting_ = false;
}

}  // namespace paretod
