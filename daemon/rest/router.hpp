#pragma once
// Maps a method and a path to one of a fixed list of routes.  A Router is immutable after
// construction, so any thread may use it.  A defective list (malformed or repeated pattern) is a
// programming error and throws std::invalid_argument.

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/rest/http_message.hpp"

namespace paretod {

/// Values of the {braced} segments, each of [A-Za-z0-9._-]{1,64} and neither "." nor "..".
class PathParameters {
 public:
  void add(std::string name, std::string value);
  /// Precondition: the route's pattern has a segment of that name.
  [[nodiscard]] const std::string& at(std::string_view name) const;

 private:
  NameValues values_;
};

using RouteHandler = std::function<HttpResponse(const HttpRequest&, const PathParameters&)>;

struct Route {
  std::string method;
  /// "/v1/jobs/{job}/front"; the last segment may end in a verb: "/v1/jobs/{job}:pause".
  std::string pattern;
  RouteHandler handler;
  std::string name;                    ///< the operation id of the OpenAPI document
  std::size_t body_limit = 64 * 1024;  ///< bytes
};

class Router {
 public:
  explicit Router(std::vector<Route> routes);

  /// Unknown path: 404.  Known path, other method: 405 with Allow.  HEAD is served by the GET
  /// route, OPTIONS by the router itself.
  [[nodiscard]] HttpResponse handle(const HttpRequest& request) const;

  /// The route a request would reach, or null.  Valid as long as the router.
  [[nodiscard]] const Route* find(std::string_view method, std::string_view path) const;

  [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }

 private:
  struct Segment {
    bool is_parameter = false;
    std::string text;  ///< literal, or the parameter's name
    std::string verb;  ///< after the colon that follows a parameter, or empty
  };
  using Pattern = std::vector<Segment>;

  static Pattern compile(const std::string& pattern);
  static std::optional<PathParameters> match(const Pattern& pattern,
                                             const std::vector<std::string_view>& path);

  std::vector<Route> routes_;
  std::vector<Pattern> patterns_;  ///< patterns_[i] belongs to routes_[i]
};

}  // namespace paretod
