#include "daemon/rest/router.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

namespace paretod {
namespace {

constexpr std::size_t max_name_bytes = 64;

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > max_name_bytes || text == "." || text == "..") return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

// Precondition: path starts with '/'.
std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::size_t end = std::min(path.find('/'), path.size());
    segments.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return segments;
}

std::string_view served_method(std::string_view method) {
  return method == "HEAD" ? std::string_view("GET") : method;
}

std::string join(const std::set<std::string>& methods) {
  std::string out;
  for (const std::string& method : methods) out += (out.empty() ? "" : ", ") + method;
  return out;
}

}  // namespace

void PathParameters::add(std::string name, std::string value) {
  values_.emplace_back(std::move(name), std::move(value));
}

const std::string& PathParameters::at(std::string_view name) const {
  for (const auto& [key, value] : values_) {
    if (key == name) return value;
  }
  throw std::out_of_range("no path parameter " + std::string(name));
}

Router::Router(std::vector<Route> routes) : routes_(std::move(routes)) {
  std::set<std::pair<std::string, std::string>> seen;
  for (const Route& route : routes_) {
    if (!seen.emplace(route.method, route.pattern).second) {
      throw std::invalid_argument("repeated route " + route.method + " " + route.pattern);
    }
    patterns_.push_back(compile(route.pattern));
  }
}

Router::Pattern Router::compile(const std::string& pattern) {
  const auto malformed = [&] { return std::invalid_argument("malformed route " + pattern); };
  if (pattern.empty() || pattern.front() != '/') throw malformed();
  Pattern compiled;
  for (const std::string_view text : split(pattern)) {
    Segment segment;
    if (text.empty() || text.front() != '{') {
      segment.text = text;
    } else {
      const std::size_t brace = text.find('}');
      if (brace == std::string_view::npos) throw malformed();
      segment.is_parameter = true;
      segment.text = text.substr(1, brace - 1);
      const std::string_view rest = text.substr(brace + 1);
      if (segment.text.empty() || (!rest.empty() && (rest.front() != ':' || rest.size() == 1))) {
        throw malformed();
      }
      if (!rest.empty()) segment.verb = rest.substr(1);
    }
    compiled.push_back(std::move(segment));
  }
  return compiled;
}

std::optional<PathParameters> Router::match(const Pattern& pattern,
                                            const std::vector<std::string_view>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  PathParameters parameters;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const Segment& segment = pattern[i];
    std::string_view raw = path[i];
    if (!segment.verb.empty()) {
      // Split before decoding: an encoded colon is data, not a verb.
      const std::size_t colon = raw.find(':');
      if (colon == std::string_view::npos || raw.substr(colon + 1) != segment.verb) {
        return std::nullopt;
      }
      raw = raw.substr(0, colon);
    }
    std::optional<std::string> value = percent_decode(raw, false);
    if (!value) return std::nullopt;
    if (segment.is_parameter) {
      if (!is_name(*value)) return std::nullopt;
      parameters.add(segment.text, std::move(*value));
    } else if (*value != segment.text) {
      return std::nullopt;
    }
  }
  return parameters;
}

const Route* Router::find(std::string_view method, std::string_view path) const {
  if (path.empty() || path.front() != '/') return nullptr;
  const auto segments = split(path);
  const std::string_view served = served_method(method);
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    if (routes_[i].method == served && match(patterns_[i], segments)) return &routes_[i];
  }
  return nullptr;
}

HttpResponse Router::handle(const HttpRequest& request) const {
  std::set<std::string> allowed;
  if (!request.path.empty() && request.path.front() == '/') {
    const auto segments = split(request.path);
    const std::string_view served = served_method(request.method);
    for (std::size_t i = 0; i < routes_.size(); ++i) {
      const std::optional<PathParameters> parameters = match(patterns_[i], segments);
      if (!parameters) continue;
      if (routes_[i].method == served) return routes_[i].handler(request, *parameters);
      allowed.insert(routes_[i].method);
    }
  }
  if (allowed.empty()) {
    return problem_response(404, "/problems/not-found", "Not found",
                            "There is nothing at " + request.path + ".");
  }
  if (allowed.count("GET") > 0) allowed.insert("HEAD");
  allowed.insert("OPTIONS");
  HttpResponse response;
  if (request.method == "OPTIONS") {
    response.status = 204;
  } else {
    response = problem_response(405, "/problems/method-not-allowed", "Method not allowed",
                                request.method + " is not possible on " + request.path + ".");
  }
  response.headers.emplace_back("Allow", join(allowed));
  return response;
}

}  // namespace paretod
